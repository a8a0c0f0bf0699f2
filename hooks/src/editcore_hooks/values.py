"""The values that pass between stages: Location, Update, Patch, State, Asset. Tensors are opaque here: no torch.

Values that an author makes are checked when they are made. Each class below raises `InvalidValueError`, which is also a
`ValueError`, and names the field, what is expected and what was given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from attrs import field, frozen

from editcore_hooks.expected import (
    each_of_type,
    float_tensor,
    index_or_none,
    index_tensor,
    mapping_of,
    of_type,
    one_of,
    refuse,
    tensors_of,
)

Tensor = Any
"""A `torch.Tensor`. The contract is light and does not import torch to say so."""

Stack = Literal["decoder", "encoder"]
Role = Literal["block", "mlp_in", "mlp_gate", "mlp_out", "attn_out", "final_norm", "head", "embed"]


@frozen
class Site:
    """A place in a model, independent of the names in its family. `layer` is None for roles that occur once."""

    role: Role
    layer: int | None = None
    stack: Stack = "decoder"
    expert: int | None = None

    def __attrs_post_init__(self) -> None:
        one_of(self, "role", get_args(Role))
        index_or_none(self, "layer")
        one_of(self, "stack", get_args(Stack))
        index_or_none(self, "expert")

    def __str__(self) -> str:
        where = f"{self.stack}.{self.role}" if self.layer is None else f"{self.stack}.{self.layer}.{self.role}"
        return where if self.expert is None else f"{where}.{self.expert}"


@frozen
class Location:
    """Place of an edit: sites, and the token whose representation is read (`subject_last`, `subject_first`, `last`)."""

    sites: tuple[Site, ...]
    token: str = "subject_last"

    def __attrs_post_init__(self) -> None:
        each_of_type(self, "sites", Site, "Sites")
        of_type(self, "token", str, "a str")


@frozen
class LowRank:
    """delta = out @ in_, with out (d_out, r) and in_ (r, d_in): canonical [out, in], whatever the file stores."""

    out: Tensor
    in_: Tensor

    def __attrs_post_init__(self) -> None:
        out, in_ = float_tensor(self, "out"), float_tensor(self, "in_")
        if len(out) != 2 or len(in_) != 2 or out[1] != in_[0] or out[1] == 0:
            hint = "for one vector each write LowRank(u[:, None], v[None])"
            refuse(self, "out", "(d_out, r) and LowRank.in_ (r, d_in) of one rank r", f"{out} and {in_}", hint)


@frozen
class Dense:
    """delta (d_out, d_in), canonical; (d,) of a weight that is a vector."""

    delta: Tensor

    def __attrs_post_init__(self) -> None:
        if not float_tensor(self, "delta"):
            refuse(self, "delta", "(d_out, d_in)", "()")


@frozen
class Sparse:
    """delta[index[0, i], index[1, i]] = values[i]; index (2, n) integer, canonical, no pair twice."""

    index: Tensor
    values: Tensor

    def __attrs_post_init__(self) -> None:
        index, values = index_tensor(self, "index"), float_tensor(self, "values")
        if len(values) != 1 or index != (2, *values):
            refuse(self, "index", "(2, n) and Sparse.values (n,)", f"{index} and {values}")


@frozen
class Rows:
    """delta[index[i]] = values[i]; index (n,), values (n, d_in): whole rows along the output side, none twice."""

    index: Tensor
    values: Tensor

    def __attrs_post_init__(self) -> None:
        index, values = index_tensor(self, "index"), float_tensor(self, "values")
        if len(index) != 1 or len(values) != 2 or values[0] != index[0]:
            refuse(self, "index", "(n,) and Rows.values (n, d_in)", f"{index} and {values}")


TensorUpdate = LowRank | Dense | Sparse | Rows


@frozen
class Payload:
    """Content of a patch of kind `modules` or `memory`: owned by the patch kind `kind`, opaque to the core."""

    kind: str
    data: Mapping[str, Any] = field(factory=dict)
    tensors: Mapping[str, Tensor] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        of_type(self, "kind", str, "the name of a PatchKind")
        of_type(self, "data", Mapping, "a mapping of JSON values")
        tensors_of(self, "tensors")


@frozen
class Update:
    """Result of a method: tensor updates by site, or one payload; the model itself is untouched.

    `state_increment` is what a later edit of the same method needs of this one. `notes` are JSON values for the
    patch's annotation: contexts, norms, losses. `assets` name the assets that the computation used.
    """

    tensors: Mapping[Site, TensorUpdate] = field(factory=dict)
    payload: Payload | None = None
    state_increment: Mapping[str, Tensor] = field(factory=dict)
    notes: Mapping[str, Any] = field(factory=dict)
    assets: tuple["Asset", ...] = ()

    def __attrs_post_init__(self) -> None:
        words = "a mapping from Site to LowRank, Dense, Sparse or Rows"
        mapping_of(self, "tensors", Site, (LowRank, Dense, Sparse, Rows), words)
        of_type(self, "payload", (Payload, type(None)), "a Payload or None")
        if self.payload is not None and self.tensors:
            refuse(self, "payload", "None where there are tensors", f"a Payload of {self.payload.kind}")
        tensors_of(self, "state_increment")
        of_type(self, "notes", Mapping, "a mapping of JSON values")
        each_of_type(self, "assets", Asset, "Assets")


@frozen
class Patch:
    """A sealed patch: `core` (what changes a model; its hash is the id), `about` (annotation), the parts by name."""

    patch_id: str
    core: Mapping[str, Any]
    about: Mapping[str, Any] = field(factory=dict)
    tensors: Mapping[str, Tensor] = field(factory=dict, eq=False, repr=False)


@frozen
class State:
    """A sequential method's knowledge of earlier edits: its increments, folded over the patches that are present."""

    stack_hash: str
    patch_ids: tuple[str, ...] = ()
    value: Any = None

    def __attrs_post_init__(self) -> None:
        each_of_type(self, "patch_ids", str, "patch ids")


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

    def __attrs_post_init__(self) -> None:
        for name in ("kind", "owner", "base_root", "sha256"):
            of_type(self, name, str, "a str")
        of_type(self, "parameters", Mapping, "a mapping of JSON values")
        of_type(self, "path", Path, "a Path")


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

    def __attrs_post_init__(self) -> None:
        for name in ("places", "recipes"):
            each_of_type(self, name, Mapping, "mappings from hyper-parameters to values")
        of_type(self, "cheaper", Mapping, "a mapping from hyper-parameters to values")
        for name in ("together", "tokens"):
            of_type(self, name, int, "an int")


@frozen
class Applied:
    """Result of applying: the patches now present, in the order they were put on, and the hash of each result."""

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

    def __attrs_post_init__(self) -> None:
        of_type(self, "metric", str, "the name of a metric")
        for name in ("value", "low", "high"):
            of_type(self, name, (int, float), "a number")
        of_type(self, "n", int, "an int")
        each_of_type(self, "rows", Mapping, "mappings")
