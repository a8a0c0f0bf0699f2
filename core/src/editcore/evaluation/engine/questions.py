"""Questions of metrics to a model. They are comparable values, so a question of many metrics is asked once.

Torch-free. A prompt is a full text; `template` and `target_prefix` are those of the case.
"""

from attrs import frozen

from editcore_hooks import Case, ChatTemplate, EditRequest
from editcore_hooks.requests import TargetPrefix


@frozen
class Score:
    """How likely is the target after the prompt, teacher-forced? Answered by a `Scored`.

    Without a target the one position after the prompt is read. `unedited` asks the model without its patches. `cut`
    allows to read less of the target than all, where the model's length does not reach.
    """

    prompt: str
    target: str | None = None
    template: ChatTemplate | None = None
    target_prefix: TargetPrefix = "auto"
    unedited: bool = False
    cut: bool = False


@frozen
class Write:
    """What does the model write after the prompt, greedily? Answered by a text, of `tokens` tokens or to its end.

    `covering` are answers that the text must be long enough for, whatever `tokens` says.
    """

    prompt: str
    tokens: int
    template: ChatTemplate | None = None
    unedited: bool = False
    covering: tuple[str, ...] = ()


@frozen
class Answer(Write):
    """The same as `Write`, but the text ends with the model's turn. Answered by an `Answered`."""


@frozen
class Drift:
    """How far is the next token after the prompt from what it was without patches? A divergence in nats."""

    prompt: str
    template: ChatTemplate | None = None


@frozen
class Neutral:
    """How does the model read a text, and how did it without patches? Answered by a `Read`."""

    text: str


@frozen
class Unshifted:
    """Log-probabilities (natural) without patches of the tokens of `text` after those of `skip`, each at its own
    position: where the token after it is predicted. What ICE's released evaluation reads; of no other use."""

    text: str
    skip: str = ""


@frozen
class Cost:
    """What did the patch with this request cost? Answered by the patch's record, or None."""

    request: EditRequest


Question = Score | Write | Drift | Neutral | Unshifted | Cost


@frozen
class Scored:
    """Log-probability of each target token given all before it (natural log); the likeliest token at each position,
    and whether it is the target's."""

    logprobs: tuple[float, ...]
    said: tuple[int, ...]
    hits: tuple[bool, ...]

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        return sum(self.logprobs) / len(self.logprobs)


@frozen
class Answered:
    """What the model wrote, and whether it ended the text or its turn itself."""

    text: str
    stopped: bool


@frozen
class Unanswered:
    """In place of any answer to a question about a prompt that the model cannot be asked: it is too short for it, or
    the tokenizer cannot join prompt and target."""

    why: str


@frozen
class Read:
    """Mean negative log-probability a token now and without patches, and the mean divergence a position, in nats."""

    nll: float
    nll_unedited: float
    kl: float


def score(about: Case | EditRequest, prompt: str, target: str | None = None, *, unedited: bool = False) -> Score:
    """The question with template and joining rule of the case, or of the request."""
    request = about.request if isinstance(about, Case) else about
    return Score(prompt, target, request.template, request.target_prefix, unedited)


def write(
    about: Case | EditRequest, prompt: str, tokens: int, covering: tuple[str, ...] = (), *, unedited: bool = False
) -> Write:
    """The question what the model writes, in `tokens` tokens, after a full prompt; answered by a text.

    `covering` are answers that the text must be long enough for. Template and joining rule are those of the case.
    """
    request = about.request if isinstance(about, Case) else about
    return Write(prompt, tokens, request.template, unedited, covering)
