"""An open model with the patches that are on it: what every room above may use of a session."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Self, TypeVar

from attrs import define, field

from editcore.models.running.generation import generate
from editcore.models.running.scoring import TargetScore, target_logprobs
from editcore.models.tokens.spans import Encoded, encode_prompt, encode_request
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import run_apply_patch, stage_manager
from editcore.session.beside import Beside
from editcore.session.live import LiveStack
from editcore.session.model import OpenModel
from editcore_hooks import Applied, ChatTemplate, EditRequest, hookimpl
from editcore_hooks.requests import TargetPrefix

T = TypeVar("T")
Question = tuple[str, str, ChatTemplate | None, TargetPrefix]
"""A full prompt, a target, the chat template, and the rule that joins them."""


@define(eq=False)
class OpenSession(OpenModel):
    """An open model for methods, metrics and tuning. `editcore.Session` adds editing and evaluation.

    Nothing here is global: two sessions share no state but kept assets.
    """

    live: LiveStack = field(init=False, repr=False)
    """The patches that are on the model."""
    _memo: dict[Any, Any] = field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        aside = Beside(self.anatomy, self.checkpoint, self.beside)
        self.live = LiveStack(self.anatomy, self.checkpoint, self.registry, aside, self)

    def cached(self, key: Any, make: Callable[[], T], *, base: bool = False) -> T:
        """The value kept under `key` for this session and its present patches, made on first use.

        With `base` it is one of the base alone, and kept whatever patches come and go. Of others only those of the
        present stack are kept: the state of a thousand edits in sequence would fill the memory a thousand times.
        """
        stack = None if base else self.live.hash
        if (stack, key) not in self._memo:
            made = make()
            self._memo = {full: value for full, value in self._memo.items() if base or full[0] in (None, stack)}
            self._memo[stack, key] = made
        value: T = self._memo[stack, key]
        return value

    @contextmanager
    def patched(self, *patches: Patch) -> Iterator[Self]:
        """Put patches on the live model; on the way out, also after an exception, the bits are as before."""
        with ExitStack() as stack:
            for patch in patches:
                self.apply(patch)
                stack.callback(self.live.remove, patch.patch_id)
            yield self

    def apply(self, patch: Patch) -> Applied:
        """Put a patch on the live model until `live.remove`. Raises what the base verdict raises."""
        return run_apply_patch(stage_manager(self.registry, appliers=[_ApplyLive()]), self, patch)

    def at_base(self) -> AbstractContextManager[None]:
        """The model without any patch, those of its folder included, for statistics that belong to the base."""
        return self.live.suspended()

    def encode(self, request: EditRequest) -> Encoded:
        """A request with its new target as token ids, as this model reads them. Raises `UsageError`."""
        return encode_request(self.tokenizer, request, encoder_decoder=self.encoder_decoder)

    def generate(
        self, prompt: str | Sequence[str], max_new_tokens: int = 32, template: ChatTemplate | None = None
    ) -> Any:
        """Greedy continuation of one prompt (a text) or several (a list), each as a user's turn with a `template`."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        both = self.encoder_decoder
        rows = [encode_prompt(self.tokenizer, each, template=template, encoder_decoder=both).ids for each in prompts]
        texts = generate(self.model, self.tokenizer, rows, max_new_tokens)
        return texts[0] if isinstance(prompt, str) else texts

    def score_targets(self, questions: Sequence[Question]) -> list[TargetScore]:
        """Teacher-forced log-probabilities of a target after a prompt, for each question.

        With an encoder-decoder the target is a text that ends: its end is scored as its last token.
        """
        both = self.encoder_decoder
        encoded = [
            encode_prompt(self.tokenizer, prompt, target, template, prefix, encoder_decoder=both)
            for prompt, target, template, prefix in questions
        ]
        return target_logprobs(self.model, [(row.prompt_ids, row.target_ids) for row in encoded])


class _ApplyLive:
    """The host's own applier for the live model."""

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        return target.live.add(patch) if isinstance(target, OpenSession) else None
