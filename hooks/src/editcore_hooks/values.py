"""The values that travel the road: Location, Update, Patch, State, Asset. Tensors are opaque here: no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

Tensor = Any
"""A `torch.Tensor`. The contract is light and does not import torch to say so."""

Stack = Literal["decoder", "encoder"]
Role = Literal["block", "mlp_in", "mlp_gate", "mlp_out", "attn_out", "final_norm", "head", "embed"]


@frozen
class Site:
    """A place in a model, free of any family's names. `layer` is None for roles that occur once."""

    role: Role
    layer: int | None = None
    stack: Stack = "decoder"
    expert: int | None = None

    def __str__(self) -> str:
        where = f"{self.stack}.{self.role}" if self.layer is None else f"{self.stack}.{self.layer}.{self.role}"
        return where if self.expert is None else f"{where}.{self.expert}"


@frozen
class Location:
    """Where to edit: sites, and the token whose representation is read (`subject_last`, `subject_first`, `last`)."""

    sites: tuple[Site, ...]
    token: str = "subject_last"


@frozen
class LowRank:
    """delta = out @ in_, with out (d_out, r) and in_ (r, d_in): canonical [out, in], whatever the file stores.

    Raises `ValueError` where these are no two matrices of one rank.
    """

    out: Tensor
    in_: Tensor

    def __attrs_post_init__(self) -> None:
        out, in_ = (tuple(getattr(part, "shape", ())) for part in (self.out, self.in_))
        if len(out) != 2 or len(in_) != 2 or out[1] != in_[0]:
            raise ValueError(
                f"LowRank needs out (d_out, r) and in_ (r, d_in), not out {out} and in_ {in_}; "
                "for one vector each write LowRank(u[:, None], v[None])"
            )


@frozen
class Dense:
    """delta (d_out, d_in), canonical."""

    delta: Tensor


@frozen
class Sparse:
    """delta[index[0, i], index[1, i]] = values[i]; index (2, n) integer, canonical, no pair twice."""

    index: Tensor
    values: Tensor


@frozen
class Rows:
    """delta[index[i]] = values[i]; index (n,), values (n, d_in): whole rows along the output side, none twice."""

    index: Tensor
    values: Tensor


TensorUpdate = LowRank | Dense | Sparse | Rows


@frozen
class Payload:
    """What a patch of kind `modules` or `memory` holds: owned by the patch kind `kind`, opaque to the core."""

    kind: str
    data: Mapping[str, Any] = field(factory=dict)
    tensors: Mapping[str, Tensor] = field(factory=dict)


@frozen
class Update:
    """What a method computed: tensor updates by site, or one payload; the model itself is untouched.

    `state_increment` is what a later edit of the same method needs of this one. `notes` are JSON values for the
    patch's annotation: contexts, norms, losses. `assets` name what the computation rested on.
    """

    tensors: Mapping[Site, TensorUpdate] = field(factory=dict)
    payload: Payload | None = None
    state_increment: Mapping[str, Tensor] = field(factory=dict)
    notes: Mapping[str, Any] = field(factory=dict)
    assets: tuple["Asset", ...] = ()


@frozen
class Patch:
    """The sealed thing: `core` (what changes a model; its hash is the id), `about` (annotation), the parts by name."""

    patch_id: str
    core: Mapping[str, Any]
    about: Mapping[str, Any] = field(factory=dict)
    tensors: Mapping[str, Tensor] = field(factory=dict, eq=False, repr=False)


@frozen
class State:
    """What a sequential method knows of earlier edits: its increments, folded over the patches that are present."""

    stack_hash: str
    patch_ids: tuple[str, ...] = ()
    value: Any = None


@frozen
class Asset:
    """An expensive result, cached: tensors in one file, with the parameters that identify it.

    `base_root` is the weights root of the model that it belongs to; `parameters` are JSON values.
    """

    kind: str
    owner: str
    base_root: str
    parameters: Mapping[str, Any]
    sha256: str
    path: Path


@frozen
class Tunable:
    """Hyper-parameters worth trying, as JSON values by name: every one of `places` with every one of `recipes`.

    The first recipe is the one by which places are compared at first. `cheaper` holds for trials only: what makes
    them faster and hardly changes which settings are best. `together` is for methods that take many requests: how
    many facts a trial edits in one update, because what suits one fact seldom suits a hundred. `tokens` is how many the
    model reads once before the first trial, for statistics; the time of a search is estimated with it.
    """

    places: tuple[Mapping[str, Any], ...]
    recipes: tuple[Mapping[str, Any], ...]
    cheaper: Mapping[str, Any] = field(factory=dict)
    together: int = 1
    tokens: int = 0


@frozen
class Applied:
    """What applying did: the patches now present, in the order they were put on, and the hash of each result."""

    patch_ids: tuple[str, ...]
    result_sha256: Mapping[str, str] = field(factory=dict)


@frozen
class Report:
    """One metric over some cases: value and 95 % interval over `n` scored cases, and the rows that it was made from.

    `dtype` is what the model ran in, `protocol` how the edits stood while they were scored: `single`, `batch`,
    `sequential`, or `as it stands`. A row has `case`, `about`, `prompt`, `target` and `value`, which is None where it
    does not count; the other keys are the metric's own.
    """

    metric: str
    value: float
    n: int
    low: float
    high: float
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    dtype: str = ""
    protocol: str = ""
