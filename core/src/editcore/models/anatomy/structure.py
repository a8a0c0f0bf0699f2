"""The structure of a model from its modules, without any family's names.

The block list is the longest list of modules of one type. In a block, modules are grouped by the child that holds them,
or the item where that child is a list; the MLP is the group of one or two projections hidden → width and one
width → hidden. Attention never has that shape: it has three inputs, or one that makes query, key and value at once.
"""

from collections.abc import Iterable

from attrs import frozen
from torch import nn
from transformers.pytorch_utils import Conv1D


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
    # Quantised linear maps are classes of their own that keep these two names.
    sizes = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(sizes[0], int) and isinstance(sizes[1], int) and not any(True for _ in module.children()):
        return Projection(path, sizes[0], sizes[1])
    return None


def projections(module: nn.Module) -> list[Projection]:
    """The linear maps inside a module, in the order in which it defines them."""
    found = (projection(path, child) for path, child in module.named_modules())
    return [each for each in found if each is not None]


def uniform_lists(model: nn.Module) -> dict[str, int]:
    """Paths and lengths of the lists of modules of one type that hold projections and are not inside each other."""
    lengths: dict[str, int] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in lengths)
        if isinstance(module, nn.ModuleList) and not inside and _is_uniform(module):
            lengths[path] = len(module)
    return lengths


def block_lists(model: nn.Module, stated: int | None = None, under: str = "") -> list[str]:
    """Paths of the lists that can be the stack: the longest ones, of those inside the module at `under`.

    One as long as is `stated` in the configuration is preferred: a vision tower can be longer than the text model.
    """
    found = uniform_lists(model)
    lengths = {path: length for path, length in found.items() if not under or path.startswith(f"{under}.")}
    wanted = stated if stated in lengths.values() else max(lengths.values(), default=0)
    return [path for path, length in lengths.items() if length == wanted]


def _is_uniform(modules: nn.ModuleList) -> bool:
    return len({type(child) for child in modules}) == 1 and all(projections(child) for child in modules)


def is_list(model: nn.Module, path: str) -> bool:
    """Whether a list that is not empty stands at the path."""
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return False
    return isinstance(module, nn.ModuleList | nn.Sequential) and len(module) > 0


def expert_path(block: nn.Module) -> str | None:
    """The place of a block's experts: a list of like modules, or one weight of three dimensions; None without."""
    for path, module in block.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1 and _is_uniform(module):
            return str(path)
        convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if not convolution and any(weight.ndim > 2 for weight in module.parameters(recurse=False)):
            return path or "the block itself"
    return None


def block_parts(block: nn.Module, hidden_size: int, attentions: int = 1) -> dict[str, str]:
    """Paths inside a block by role; a role is left out when the shapes do not single it out.

    `mlp_in` is left out when gate and up are one fused projection. Where a block has two `attentions`, the first is
    self-attention.
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
    if len(attention) == attentions:
        parts["attn_out"] = [p for p in attention[0] if p.n_out == hidden_size][-1].path
    return parts


def _groups(block: nn.Module) -> list[list[Projection]]:
    """Projections by the child of the block that holds them; those that hang on the block itself are one group."""
    lists = {name for name, child in block.named_children() if isinstance(child, nn.ModuleList)}
    groups: dict[str, list[Projection]] = {}
    for each in projections(block):
        child, *inside = each.path.split(".")
        holder = f"{child}.{inside[0]}" if child in lists else child
        groups.setdefault(holder if inside else "", []).append(each)
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


def fused_input(block: nn.Module, mlp_out: str, hidden_size: int) -> str | None:
    """Path of the one projection beside `mlp_out` that is gate and input at once: twice the width; None without."""
    holder = mlp_out.rpartition(".")[0]
    sides = [each for each in projections(block) if each.path.rpartition(".")[0] == holder]
    width = next((each.n_in for each in sides if each.path == mlp_out), 0)
    fused = [each.path for each in sides if (each.n_in, each.n_out) == (hidden_size, 2 * width)]
    return fused[0] if len(fused) == 1 else None


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


def describe_lists(model: nn.Module) -> str:
    """The lists of blocks of a model in one line, each with the projections of its blocks by type, for a message."""
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and not inside and projections(module):
            kinds: dict[str, nn.Module] = {}
            for child in module:
                kinds.setdefault(type(child).__name__, child)
            blocks = " or ".join(f"{name}: {describe(child)}" for name, child in kinds.items())
            found[path] = f"{path} ({len(module)} × {blocks})"
    return "; ".join(found.values()) or "no list of blocks"


def common(paths: Iterable[dict[str, str]]) -> dict[str, str]:
    """The roles that stand at the same path in every block."""
    first, *rest = paths
    return {role: path for role, path in first.items() if all(other.get(role) == path for other in rest)}
