"""The open model, as an author may use it. The host's own session has more members; only these are promised."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from editcore_hooks.parts import Anatomy, Assets, Encoded, LivePatches, Loaded, Progress, TargetScore
from editcore_hooks.requests import ChatTemplate, EditRequest, TargetPrefix

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

Question = tuple[str, str, ChatTemplate | None, TargetPrefix]
"""A full prompt, a target, the chat template, and the rule that joins prompt and target."""


class Session(Protocol):
    """The `session` of methods, locators, transforms, metrics and patch kinds. Covered by `API_VERSION`.

    All weights have `requires_grad` False. A stage leaves weights, buffers, hooks, modes and gradients as they were.
    """

    @property
    def model(self) -> Any:
        """The transformers model, in eval mode, with the present patches on."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        ...

    @property
    def anatomy(self) -> Anatomy:
        """Map of the model: site to module, parameter, and weight in canonical orientation, (d_out, d_in)."""
        ...

    @property
    def device(self) -> "torch.device":
        """The device that inputs go to."""
        ...

    @property
    def loaded(self) -> Loaded:
        """Name and dtypes of the model."""
        ...

    @property
    def seed(self) -> int:
        """The seed of this session; the host seeds every generator with it before each stage."""
        ...

    @property
    def encoder_decoder(self) -> bool:
        """Whether the prompt goes to an encoder, and a decoder answers it."""
        ...

    @property
    def max_length(self) -> int:
        """The longest row the model takes, in tokens."""
        ...

    @property
    def start_token(self) -> int:
        """The id that begins a text: BOS, else end of text. Raises `UsageError` when the tokenizer has neither."""
        ...

    @property
    def weights_root(self) -> str:
        """Hash of the base's weights, independent of patches: identifies results computed from the base."""
        ...

    @property
    def tokenizer_sha256(self) -> str | None:
        """Hash of the tokenizer's file; None where there is none."""
        ...

    @property
    def checkpoint(self) -> Any:
        """The folder of the base; pass it to the functions of `editcore.authoring.patches`."""
        ...

    @property
    def live(self) -> LivePatches:
        """The patches that are on the model."""
        ...

    @property
    def assets(self) -> Assets:
        """Cache of expensive results on disk, such as second moments."""
        ...

    @property
    def recalled(self) -> dict[Any, Any] | None:
        """Results that the trials of one search share, such as the values of an edit; None outside a search."""
        ...

    @property
    def neutral(self) -> Any:
        """Text that damage is measured on: `passages`, and `sha256` of the file (None for the built-in text).

        Not for computing edits, which would then be measured on what they were fitted to: draw texts from the model
        with `editcore.authoring.models.sample`.
        """
        ...

    @property
    def seconds_left(self) -> float:
        """Seconds of the time that the host gave; infinite when it gave none. Long work stops when they are used up."""
        ...

    def traits(self) -> Mapping[str, Any]:
        """Traits by which presets are chosen: `name`, `model_type`, `n_layers`, `hidden_size`, `mlp_width`,
        `encoder_decoder`, `weights_root`."""
        ...

    def cached(self, key: Any, make: Callable[[], T], *, base: bool = False) -> T:
        """The value kept under `key` for the present patches, made on first use.

        With `base`, the value belongs to the model without patches and is kept when patches change.
        """
        ...

    def at_base(self) -> AbstractContextManager[None]:
        """Take all patches off within the context, for statistics of the base; then restore every bit."""
        ...

    def patched(self, *patches: Any) -> AbstractContextManager[Any]:
        """Put further patches on within the context; then restore every bit. Raises `WrongBaseError`,
        `ConflictError`."""
        ...

    def encode(self, request: EditRequest) -> Encoded:
        """A request with its new target as token ids, from one joint tokenisation. Raises `UsageError`."""
        ...

    def generate(
        self, prompt: str | Sequence[str], max_new_tokens: int = 32, template: ChatTemplate | None = None
    ) -> Any:
        """Greedy continuation: a text for one prompt, a list of texts for a list of prompts."""
        ...

    def score_targets(self, questions: Sequence[Question]) -> Sequence[TargetScore]:
        """Teacher-forced log-probabilities (natural log) of a target after a prompt, for each question.

        An encoder-decoder's target includes the end of the text as its last token.
        """
        ...

    def say(self, text: str) -> None:
        """Tell the user something, on one line; not shown under `-q`."""
        ...

    def warn(self, text: str) -> None:
        """Tell the user something that matters; shown under `-q` too."""
        ...

    def progress(self, label: str, total: int) -> AbstractContextManager[Progress]:
        """Show the progress of `total` steps under a label; call `advance` on the result."""
        ...
