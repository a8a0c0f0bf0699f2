"""The parts of a session that an author meets, as protocols."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from editcore_hooks.values import Asset, Patch, Site

if TYPE_CHECKING:
    from torch import Tensor, nn


class Anatomy(Protocol):
    """Map of the parts of a model. Its sizes are those of the decoder."""

    @property
    def model(self) -> Any:
        """The mapped transformers model."""
        ...

    @property
    def n_layers(self) -> int:
        """Number of blocks of the decoder."""
        ...

    @property
    def hidden_size(self) -> int:
        """Width of a hidden state, d."""
        ...

    @property
    def mlp_width(self) -> int:
        """Input size of the decoder's `mlp_out`: the length of a key."""
        ...

    def path(self, site: Site) -> str:
        """Dotted path of the site's module. Raises `UsageError` when the model has no such site."""
        ...

    def module(self, site: Site) -> "nn.Module":
        """The module at the site."""
        ...

    def widths(self, site: Site) -> tuple[int, int]:
        """Widths in and out (d_in, d_out) of the site's module. Raises `UsageError` when the model has no such site."""
        ...

    def name(self, site: Site) -> str:
        """Name in memory of the site's weight. Raises `UsageError` for a whole block."""
        ...

    def weight(self, site: Site) -> "Tensor":
        """The site's weight, (d_out, d_in) whatever the file stores, or (hidden,) of a norm.

        A view of the parameter without gradient; for an offloaded parameter a copy, read at each call.
        """
        ...

    def parameter(self, site: Site) -> "tuple[str, nn.Parameter, bool]":
        """Name and parameter of the site's weight, and whether it is stored [in, out]. `requires_grad` is False.

        Raises `UsageError` for a whole block and for an offloaded weight.
        """
        ...

    def transposed(self, site: Site) -> bool:
        """Whether the site's weight is stored [in, out] instead of [out, in]."""
        ...

    def site_of(self, parameter_name: str) -> Site | None:
        """The site of a weight, by the name of the parameter; None if no site has it."""
        ...

    def key_of(self, parameter_name: str, checkpoint_keys: Collection[str]) -> str:
        """Key under which the files hold a parameter. Raises `RefusedFileError` when there is not exactly one."""
        ...


class Encoded(Protocol):
    """Token ids of a prompt and its target, from one joint tokenisation."""

    @property
    def text(self) -> str:
        """Text of `ids`; for an encoder-decoder, the prompt."""
        ...

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, those of the prompt first."""
        ...

    @property
    def subject(self) -> range | None:
        """Indices of the subject in `ids`; None where the prompt marks none."""
        ...

    @property
    def target(self) -> range:
        """Indices of the target in `ids`; empty, and at the end, when there is none."""
        ...

    @property
    def encoder_decoder(self) -> bool:
        """Whether `prompt_ids` go to an encoder, and `target_ids` are the decoder's labels."""
        ...

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Ids of the input of the model."""
        ...

    @property
    def target_ids(self) -> tuple[int, ...]:
        """Ids of the answer."""
        ...


class TargetScore(Protocol):
    """How likely each token of a target is, given all tokens before it."""

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Natural log-probability of each target token."""
        ...

    @property
    def hits(self) -> tuple[bool, ...]:
        """Whether each target token is the likeliest."""
        ...

    @property
    def sum(self) -> float:
        """Log-probability of the whole target."""
        ...

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        ...


class Progress(Protocol):
    """A progress bar, or nothing at all."""

    def advance(self, n: int = 1) -> None:
        """Move on by `n` steps. Raises an `EditcoreError` when the time that the host gave is used up."""
        ...


class Loaded(Protocol):
    """How the model was loaded."""

    @property
    def name(self) -> str:
        """Folder, without the directories before it, or hub id."""
        ...

    @property
    def asked(self) -> str:
        """Folder or hub id as the user wrote it: what a command in a hint has to name."""
        ...

    @property
    def dtype(self) -> str:
        """Dtype of the computation, such as `float32`."""
        ...

    @property
    def stored_dtype(self) -> str:
        """Dtype of its files, such as `bfloat16`."""
        ...


class Memories(Protocol):
    """The memories on the model, in the order of their patches."""

    def put(self, owner: str, *memories: Any) -> None:
        """Attach `Memory` objects under an owner, the id of a patch. Raises `UsageError` for an unknown site."""
        ...

    def take(self, owner: str) -> None:
        """Detach those of an owner; nothing of them remains."""
        ...

    def trying(self, *memories: Any) -> AbstractContextManager[None]:
        """Attach more within the context, as the latest: for a method that trains one."""
        ...


class LivePatches(Protocol):
    """The patches that are on the model: those of its folder, then those put on in memory."""

    @property
    def patches(self) -> tuple[Patch, ...]:
        """All of them, in the order they were put on."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, in the same order."""
        ...

    @property
    def hash(self) -> str:
        """One hash of all of them."""
        ...

    @property
    def memories(self) -> Memories:
        """The memories that patches attached."""
        ...

    def only(self, ids: Collection[str]) -> AbstractContextManager[None]:
        """The model with these of the patches and no others for the body; then every bit as before."""
        ...


class Partial(Protocol):
    """The work file of a computation that may be stopped and resumed."""

    def save(self, tensors: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Keep the state so far; `progress` holds JSON values."""
        ...

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and progress of the last save; None when there is none."""
        ...

    def remove(self) -> None:
        """Forget the state."""
        ...


class Assets(Protocol):
    """Cache of expensive results on disk. An identity is an `editcore.authoring.assets.Identity`."""

    def find(self, identity: Any) -> Asset | None:
        """The asset of an identity, every byte of it checked; None when there is none."""
        ...

    def load(self, asset: Asset) -> dict[str, Any]:
        """Its tensors by name. Raises `RefusedFileError` when the file is no longer that asset."""
        ...

    def about(self, asset: Asset) -> Mapping[str, Any]:
        """The annotation that was given to `put`."""
        ...

    def put(self, identity: Any, tensors: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Asset:
        """Keep tensors under an identity; replaces what was there."""
        ...

    def partial(self, identity: Any) -> Partial:
        """The resumable work on an asset; use it under `lock`."""
        ...

    def lock(self, identity: Any, timeout: float | None = None) -> AbstractContextManager[None]:
        """Hold the identity against other processes. Raises `ConflictError` after `timeout` seconds."""
        ...

    def list(self) -> Sequence[Asset]:
        """Every asset that is kept."""
        ...
