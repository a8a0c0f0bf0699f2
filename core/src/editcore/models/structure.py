"""What the modules of a model say about themselves, without any family's names.

The block list is the longest list of modules of one type. In a block, modules are grouped by the child that holds them;
the MLP is the group of one or two projections hidden → width and one width → hidden. Attention never has that shape:
it has three inputs, or one that makes query, key and value at once.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen
from torch import nn
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@frozen(eq=False)
class Projection:
    """A linear map at `path`, with its widths in and out; told from each other by type, never by shape."""

    path: str
    n_in: int
    n_out: int

    def __str__(self) -> str:
        return f"{self.path} {self.n_in}→{self.n_out}"


def is_transposed(module: nn.Module) -> bool:
    """Whether the module stores its weight [in, out]."""
    return isinstance(module, Conv1D)


def projection(path: str, module: nn.Module) -> Projection | None:
    """The linear map that `module` is, or None."""
    if isinstance(module, nn.Linear):
        return Projection(path, module.in_features, module.out_features)
    if isinstance(module, Conv1D):
        return Projection(path, int(module.weight.shape[0]), int(module.weight.shape[1]))
    return None


def projections(module: nn.Module) -> list[Projection]:
    """The linear maps inside a module, in the order in which it defines them."""
    found = (projection(path, child) for path, child in module.named_modules())
    return [each for each in found if each is not None]


def block_lists(model: "PreTrainedModel") -> list[str]:
    """Paths of the lists that can be the decoder: of one type, not inside each other, the longest ones.

    A list as long as the text configuration says is preferred: a vision tower can be longer than the text model.
    """
    lengths: dict[str, int] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in lengths)
        if isinstance(module, nn.ModuleList) and not inside and _is_uniform(module):
            lengths[path] = len(module)
    stated = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    wanted = stated if stated in lengths.values() else max(lengths.values(), default=0)
    return [path for path, length in lengths.items() if length == wanted]


def _is_uniform(modules: nn.ModuleList) -> bool:
    return len({type(child) for child in modules}) == 1 and all(projections(child) for child in modules)


def expert_path(block: nn.Module) -> str | None:
    """Where a block keeps experts: a list of like modules, or one weight of three dimensions; None without."""
    for path, module in block.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1 and _is_uniform(module):
            return str(path)
        convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if not convolution and any(weight.ndim > 2 for weight in module.parameters(recurse=False)):
            return path or "the block itself"
    return None


def block_parts(block: nn.Module, hidden_size: int) -> dict[str, str]:
    """Paths inside a block by role; a role is left out when the shapes do not single it out.

    `mlp_in` is left out when gate and up are one fused projection.
    """
    groups = _groups(block)
    plain = [group for group in groups if _is_mlp(group, hidden_size, fused=False)]
    mlps = plain or [group for group in groups if _is_mlp(group, hidden_size, fused=True)]
    if len(mlps) != 1:
        return {}
    out = _mlp_out(mlps[0], hidden_size)
    parts = {"mlp_out": out.path}
    inputs = [each for each in mlps[0] if each is not out]
    if plain:
        parts["mlp_in"] = inputs[-1].path
        if len(inputs) == 2:
            parts["mlp_gate"] = inputs[0].path  # every gated family but one defines the gate first
    attention = [group for group in groups if group is not mlps[0] and any(p.n_out == hidden_size for p in group)]
    if len(attention) == 1:
        parts["attn_out"] = [p for p in attention[0] if p.n_out == hidden_size][-1].path
    return parts


def _groups(block: nn.Module) -> list[list[Projection]]:
    """Projections by the child of the block that holds them; those that hang on the block itself are one group."""
    groups: dict[str, list[Projection]] = {}
    for each in projections(block):
        child, dot, _ = each.path.partition(".")
        groups.setdefault(child if dot else "", []).append(each)
    return list(groups.values())


def _mlp_out(group: list[Projection], hidden_size: int) -> Projection:
    """The down-projection; where width and hidden size are equal, the one that is defined last."""
    by_shape = [p for p in group if p.n_out == hidden_size and p.n_in != hidden_size]
    return by_shape[0] if by_shape else group[-1]


def _is_mlp(group: list[Projection], hidden_size: int, *, fused: bool) -> bool:
    out = _mlp_out(group, hidden_size)
    inputs = [p for p in group if p is not out]
    width_in = 2 * out.n_in if fused else out.n_in
    return (
        out.n_out == hidden_size
        and (len(inputs) == 1 or (len(inputs) == 2 and not fused))
        and all((p.n_in, p.n_out) == (hidden_size, width_in) for p in inputs)
    )


def final_norm(model: nn.Module, blocks: str, hidden_size: int) -> str | None:
    """Path of the norm that stands beside the block list: after it where there is one, else before it."""
    parent, _, name = blocks.rpartition(".")
    children = list(model.get_submodule(parent).named_children())
    at = [child for child, _ in children].index(name)
    for nearby in (children[at + 1 :], children[:at]):
        norms = [child for child, module in nearby if _is_norm(module, hidden_size)]
        if len(norms) == 1:
            return f"{parent}.{norms[0]}" if parent else norms[0]
    return None


def _is_norm(module: nn.Module, hidden_size: int) -> bool:
    weights = list(module.parameters())
    return bool(weights) and all(tuple(weight.shape) == (hidden_size,) for weight in weights)


def path_of(model: nn.Module, wanted: nn.Module | None) -> str | None:
    """The path of a module by identity, the first where it has several."""
    return next((path for path, module in model.named_modules() if module is wanted), None)


def describe(block: nn.Module) -> str:
    """The projections of a block in one line, for a message."""
    return ", ".join(map(str, projections(block))) or "no linear maps"


def common(paths: Iterable[dict[str, str]]) -> dict[str, str]:
    """The roles that stand at the same path in every block."""
    first, *rest = paths
    return {role: path for role, path in first.items() if all(other.get(role) == path for other in rest)}
