"""Finding the stacks of a model: structure proposes, the table of the family confirms, a map by file decides."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from torch import nn

from editcore.models.anatomy import structure
from editcore.models.anatomy.stacks import IN_BLOCK, StackMap
from editcore_hooks import Architecture, EditcoreError, PluginError, UsageError
from editcore_hooks.values import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BY_FILE = (
    "write `blocks: PATH` and `parts: {mlp_out: PATH}` into a YAML file, paths as printed here, "
    "and pass it as --architecture FILE"
)


@frozen(eq=False)
class _Wanted:
    """The stack to find: inside the module of `model` at `under`, with the map for it."""

    model: "PreTrainedModel"
    stack: Stack
    under: str
    length: int | None
    table: type[Architecture] | None
    corrects: bool

    @property
    def kind(self) -> str:
        return str(self.model.config.model_type)

    @property
    def blocks(self) -> str | None:
        if self.table is None:
            return None
        return self.table.blocks if self.stack == "decoder" else self.table.encoder_blocks

    @property
    def parts(self) -> Mapping[str, str]:
        if self.table is None:
            return {}
        return self.table.parts if self.stack == "decoder" else self.table.encoder_parts

    def contradiction(self, message: str) -> EditcoreError:
        if self.corrects:
            return UsageError(f"{message}; there is {structure.describe_lists(self.model)}", hint="correct the file")
        return PluginError(message)


def survey(
    model: "PreTrainedModel", table: type[Architecture] | None, *, corrects: bool = False
) -> dict[Stack, StackMap]:
    """The decoder of `model`, and its encoder if it has one. With `corrects` the table wins over the structure.

    Raises as `Anatomy.of` does.
    """
    text = model.config.get_text_config()
    if not model.config.is_encoder_decoder:
        stated = getattr(text, "num_hidden_layers", None)
        return {"decoder": _stack(_Wanted(model, "decoder", "", stated, table, corrects), model)}
    stacks: dict[Stack, StackMap] = {}
    whole: Any = model  # transformers does not say what these return
    modules: list[tuple[Stack, Any]] = [("decoder", whole.get_decoder()), ("encoder", whole.get_encoder())]
    for stack, module in modules:
        under = structure.path_of(model, module) or ""
        stacks[stack] = _stack(_Wanted(model, stack, under, None, table, corrects), module)
    return stacks


def _stack(wanted: _Wanted, reader: "PreTrainedModel") -> StackMap:
    """`reader` is the module whose input embedding the stack reads: the model, or the stack itself beside another."""
    model, hidden_size = wanted.model, wanted.model.config.get_text_config().hidden_size
    _refuse_other_inputs(wanted)
    path = _choose_blocks(wanted)
    blocks = list(model.get_submodule(path).children())
    _refuse_experts(path, blocks)

    attentions = 2 if wanted.under and wanted.stack == "decoder" else 1
    roles = structure.common(structure.block_parts(block, hidden_size, attentions) for block in blocks)
    head = model.get_output_embeddings() if wanted.stack == "decoder" else None  # type: ignore[no-untyped-call]
    named = {
        "final_norm": structure.final_norm(model, path, hidden_size),
        "head": None if head is None else structure.path_of(model, head),
        "embed": structure.path_of(model, reader.get_input_embeddings()),
    }
    roles |= {role: where for role, where in named.items() if where is not None}
    roles |= _confirmed(wanted, path, roles)
    if "mlp_out" not in roles:
        message = f"no MLP was recognised in the blocks of {wanted.kind}: {structure.describe_lists(model)}"
        raise UsageError(message, hint=BY_FILE)
    fused = None if "mlp_in" in roles else structure.fused_input(blocks[0], roles["mlp_out"], hidden_size)
    return StackMap(path, roles, len(blocks), _mlp_width(wanted, blocks, roles["mlp_out"], hidden_size), fused)


def _choose_blocks(wanted: _Wanted) -> str:
    candidates = structure.block_lists(wanted.model, wanted.length, wanted.under)
    if wanted.blocks is not None:
        doubted = candidates and not wanted.corrects
        if wanted.blocks in candidates if doubted else structure.is_list(wanted.model, wanted.blocks):
            return wanted.blocks
        name = wanted.kind if wanted.table is None else wanted.table.name
        found = candidates[0] if candidates else "no place that is clear"
        raise wanted.contradiction(f"the map of {name} has its blocks at {wanted.blocks}, the model at {found}")
    if len(candidates) != 1:
        found = structure.describe_lists(wanted.model)
        raise UsageError(f"expected one list of blocks in {wanted.kind}, found {found}", hint=BY_FILE)
    return candidates[0]


def _refuse_experts(path: str, blocks: Sequence[nn.Module]) -> None:
    for layer, block in enumerate(blocks):
        experts = structure.expert_path(block)
        if experts is not None:
            message = f"block {layer} keeps experts at {path}.{layer}.{experts}, which cannot be edited yet"
            raise UsageError(message, hint="choose a dense model of the family")


def _refuse_other_inputs(wanted: _Wanted) -> None:
    """Blocks that read more than one hidden state of a token: AltUp in Gemma 3n, inputs of each layer in small Gemma 4.

    Forwards that start above a block or replace an embedding would leave out what these blocks read beside it.
    """
    config = wanted.model.config.get_text_config()
    streams = getattr(config, "altup_num_inputs", None) or 1
    reads = f"{streams} hidden states side by side" if streams > 1 else ""
    if not reads and getattr(config, "hidden_size_per_layer_input", None):
        reads = "an input of their own layer beside the hidden state"
    if reads:
        message = f"the blocks of {wanted.kind} read {reads}, which editcore does not support"
        raise UsageError(message, hint="choose a model whose blocks read one hidden state, such as Gemma 3")


def _confirmed(wanted: _Wanted, blocks: str, found: Mapping[str, str]) -> dict[str, str]:
    """The roles of the map, each either what structure found or what it could not tell."""
    roles = {}
    for role, path in wanted.parts.items():
        name = wanted.kind if wanted.table is None else wanted.table.name
        if found.get(role, path) != path and not wanted.corrects:
            raise PluginError(f"the map of {name} has {role} at {path}, the model's structure at {found[role]}")
        try:
            wanted.model.get_submodule(f"{blocks}.0.{path}" if role in IN_BLOCK else path)
        except AttributeError as error:
            if role in ("head", "final_norm") and role not in found and not wanted.corrects:
                continue  # the bare model of the family has no head, OPT-350m no norm at the end
            message = f"the map of {name} has {role} at {path}, where this model has nothing"
            raise wanted.contradiction(message) from error
        roles[role] = path
    return roles


def _mlp_width(wanted: _Wanted, blocks: Sequence[nn.Module], mlp_out: str, hidden_size: int) -> int:
    widths = set()
    for layer, block in enumerate(blocks):
        try:
            out = structure.projection(mlp_out, block.get_submodule(mlp_out))
        except AttributeError:
            out = None
        if out is None or out.n_out != hidden_size:
            message = f"mlp_out of block {layer}, {mlp_out}, is not a projection to the hidden size {hidden_size}"
            raise UsageError(f"{message}: {structure.describe(block)}", hint=BY_FILE)
        widths.add(out.n_in)
    if len(widths) != 1:
        raise UsageError(
            f"the MLPs of {wanted.kind} differ in width: {', '.join(map(str, sorted(widths)))}",
            hint="choose a model of the family whose blocks are alike",
        )
    return widths.pop()
