"""Edit requests, and cases: requests with the probes that measure them."""

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen, validators

from editcore_hooks.errors import UsageError
from editcore_hooks.prompts import Rendered, mark_subject, render

TargetPrefix = Literal["auto", "none", "blank"]
Rule = Literal["all", "any"]


@frozen
class ChatTemplate:
    """Put the prompt into the tokenizer's chat template as the user's turn, after `system` when given."""

    chat: bool = True
    system: str | None = None


@frozen
class EditRequest:
    """One fact to write: after `prompt` with `subject` in it the model should say `target_new`.

    `prompt` holds one `{}`; a prompt without it must contain the subject exactly once. `target_prefix` says what
    joins prompt and target: `blank` one blank, `none` nothing, `auto` a blank unless the prompt ends in white space,
    the target starts with it, a chat template ends the prompt, or one of the two is in a script that is written without
    blanks where they meet (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar). `contexts` are texts from which the
    fact follows, for methods that learn from them. Raises `UsageError`.
    """

    prompt: str = field(validator=validators.instance_of(str))
    subject: str = field(validator=validators.instance_of(str))
    target_new: str = field(validator=validators.instance_of(str))
    target_true: str | None = None
    id: str = ""
    template: ChatTemplate | None = None
    target_prefix: TargetPrefix = "auto"
    contexts: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        for name in ("prompt", "subject", "target_new", "target_true", "id"):
            _refuse_half_characters(getattr(self, name), f"the {name} of the request {self.id!r}")
        if not all(isinstance(text, str) and text.strip() for text in self.contexts):
            raise UsageError(f"a context of {self.prompt!r} is empty", hint="write sentences that state the fact")
        object.__setattr__(self, "prompt", mark_subject(self.prompt, self.subject))
        if not self.target_new.strip():
            raise UsageError(f"the target of {self.prompt!r} is empty", hint="say what the model should answer")
        if self.target_prefix not in ("auto", "none", "blank"):
            raise UsageError(f"target_prefix {self.target_prefix!r} is not one of auto, none, blank")

    def rendered(self) -> Rendered:
        """The prompt with its subject, and where the subject stands."""
        return render(self.prompt, self.subject)


@frozen
class Probe:
    """A prompt (without `{}`) and the answers that count as right, the first of which is the canonical one.

    `also` are further answers that a full answer names too, each with its aliases: the other children of one mother.
    The probe counts only when the unedited model answers every one of its `conditions`, which have none of their own.
    Probes of one facet with the same `group` are one test: it passes when `all` or `any` of them do, by `rule`.
    Raises `UsageError`.
    """

    prompt: str
    targets: tuple[str, ...] = ()
    also: tuple[tuple[str, ...], ...] = ()
    conditions: tuple["Probe", ...] = ()
    group: str = ""
    rule: Rule = "all"

    def __attrs_post_init__(self) -> None:
        if self.rule not in ("all", "any"):
            raise UsageError(f"the rule {self.rule!r} of a probe is not one of all, any")
        if any(condition.conditions for condition in self.conditions):
            raise UsageError(f"a condition of the probe {self.prompt!r} has conditions itself", hint="list them flat")


@frozen
class Case:
    """An edit request and what to ask afterwards. `rephrases` are full prompts of the same fact.

    `together` are facts that are written with `request`, since the probes ask for what follows from all of them;
    `generation` are prompts to write on from, for figures of the text itself; `accepted` are other names of the
    request's new target, which count if the model writes them.
    """

    request: EditRequest
    rephrases: tuple[str, ...] = ()
    locality: Mapping[str, tuple[Probe, ...]] = field(factory=dict)
    portability: Mapping[str, tuple[Probe, ...]] = field(factory=dict)
    together: tuple[EditRequest, ...] = ()
    generation: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def requests(self) -> tuple[EditRequest, ...]:
        """Every fact of the case, in the order in which they are written."""
        return (self.request, *self.together)


def _refuse_half_characters(text: str | None, what: str) -> None:
    """Raise `UsageError` for a lone surrogate, which no tokenizer and no file takes."""
    half = next((character for character in text or "" if "\ud800" <= character <= "\udfff"), None)
    if half is not None:
        message = f"{what} holds U+{ord(half):04X}, half of a character (a lone surrogate)"
        raise UsageError(message, hint="write the whole character, as UTF-8")
