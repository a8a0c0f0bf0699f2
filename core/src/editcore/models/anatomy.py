"""The map of a model: from a `Site`, free of any family's names, to modules, parameters and keys in files."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

import torch
from attrs import field, frozen
from torch import nn

from editcore.models import structure
from editcore.models.families import ARCHITECTURES
from editcore.models.parameter_keys import counterpart
from editcore_hooks import Architecture, PluginError, Site, UsageError
from editcore_hooks.values import Role

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IN_BLOCK = ("mlp_in", "mlp_gate", "mlp_out", "attn_out")
AT_ROOT = ("final_norm", "head", "embed")


@frozen(eq=False)
class Anatomy:
    """Where everything is. `roles` maps a role to a path, inside a block for `IN_BLOCK`, from the root for `AT_ROOT`.

    `tied` groups names of parameters that share storage; `family` names the table that confirmed the map, if any.
    """

    model: "PreTrainedModel" = field(repr=False)
    blocks: str
    roles: Mapping[str, str]
    n_layers: int
    hidden_size: int
    mlp_width: int
    prefixes: tuple[str, ...]
    family: str | None
    tied: tuple[tuple[str, ...], ...]
    _names: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, model: "PreTrainedModel", architectures: Iterable[type[Architecture]] = ARCHITECTURES) -> "Anatomy":
        """Find the map from the structure of `model`, confirmed by the table of its family where there is one.

        Raises `UsageError` when the structure is not clear and no table helps, and for encoder-decoder models and
        experts; `PluginError` when structure and table say different things.
        """
        kind, text = model.config.model_type, model.config.get_text_config()
        if model.config.is_encoder_decoder:
            raise UsageError(f"{kind} has an encoder and a decoder", hint="editcore edits decoder-only models")
        tables = {table.name: table for table in architectures}
        table = tables.get(kind) or tables.get(text.model_type)
        path = _choose_blocks(model, table)
        blocks = list(model.get_submodule(path).children())
        _refuse_experts(path, blocks)

        roles = structure.common(structure.block_parts(block, text.hidden_size) for block in blocks)
        named = {
            "final_norm": structure.final_norm(model, path, text.hidden_size),
            "head": structure.path_of(model, model.get_output_embeddings()),  # type: ignore[no-untyped-call]
            "embed": structure.path_of(model, model.get_input_embeddings()),
        }
        roles |= {role: where for role, where in named.items() if where is not None}
        if table is not None:
            roles |= _confirmed(model, path, roles, table)
        if "mlp_out" not in roles:
            message = f"no MLP stands out in the blocks of {kind}: {structure.describe(blocks[0])}"
            raise UsageError(message, hint="a plugin can bring its map: editcore_register_architectures")

        parameters = dict(model.named_parameters(remove_duplicate=False))
        return cls(
            model=model,
            blocks=path,
            roles=roles,
            n_layers=len(blocks),
            hidden_size=text.hidden_size,
            mlp_width=_mlp_width(blocks, roles["mlp_out"], text.hidden_size),
            prefixes=table.prefixes if table is not None else (f"{model.base_model_prefix}.",),
            family=None if table is None else table.name,
            tied=_tied(parameters),
            names=frozenset(parameters),
        )

    def path(self, site: Site) -> str:
        """The dotted path of the site's module. Raises `UsageError` when the model has no such site."""
        if site.stack != "decoder" or site.expert is not None:
            raise UsageError(f"{site}: this model has one stack, the decoder, and no experts")
        if site.role in AT_ROOT:
            if site.layer is not None:
                raise UsageError(f"{site.role} occurs once and has no layer", hint="leave out the layer")
            prefix = ""
        else:
            if site.layer is None or not 0 <= site.layer < self.n_layers:
                raise UsageError(f"there is no layer {site.layer}", hint=f"the layers are 0 to {self.n_layers - 1}")
            prefix = f"{self.blocks}.{site.layer}"
            if site.role == "block":
                return prefix
        if site.role not in self.roles:
            known = ", ".join(role for role in get_args(Role) if role in self.roles)
            raise UsageError(f"no {site.role} is known in this model", hint=f"there are {known}")
        return f"{prefix}.{self.roles[site.role]}".lstrip(".")

    def module(self, site: Site) -> nn.Module:
        """The module at the site."""
        return self.model.get_submodule(self.path(site))

    def parameter(self, site: Site) -> tuple[str, nn.Parameter, bool]:
        """Name and parameter of the site's weight, and whether it is stored [in, out] instead of [out, in].

        An embedding counts as its tied head, [vocabulary, hidden]. Raises `UsageError` for a whole block and for
        weights that were offloaded.
        """
        if site.role == "block":
            raise UsageError(f"{site} is a whole block", hint="name one of its parts, such as mlp_out")
        name = f"{self.path(site)}.weight"
        parameter = self.model.get_parameter(name)
        if parameter.is_meta:
            raise UsageError(f"{name} is offloaded", hint="load the model on one device")
        return name, parameter, structure.is_transposed(self.module(site))

    def weight(self, site: Site) -> torch.Tensor:
        """The site's weight without gradient, a view in canonical orientation: (out, in), or (hidden,) of a norm."""
        _, parameter, transposed = self.parameter(site)
        return parameter.detach().T if transposed else parameter.detach()

    def site_of(self, parameter_name: str) -> Site | None:
        """The site whose weight the parameter is; None for biases and for what no site names."""
        path = parameter_name.removesuffix(".weight")
        if path == parameter_name:
            return None
        by_path = {where: role for role, where in self.roles.items()}
        if by_path.get(path) in AT_ROOT:
            return Site(by_path[path])  # type: ignore[arg-type]
        layer, _, inside = path.removeprefix(f"{self.blocks}.").partition(".")
        if path.startswith(f"{self.blocks}.") and by_path.get(inside) in IN_BLOCK:
            return Site(by_path[inside], int(layer))  # type: ignore[arg-type]
        return None

    def key_of(self, parameter_name: str, checkpoint_keys: Collection[str]) -> str:
        """The key under which the files hold a parameter; that of the embedding for a tied head.

        Raises `RefusedFileError` when no key or more than one corresponds.
        """
        partners = [name for group in self.tied if parameter_name in group for name in group if name != parameter_name]
        return counterpart(parameter_name, checkpoint_keys, self.prefixes, partners)

    def parameter_of(self, checkpoint_key: str) -> str:
        """The name in memory of the tensor that the files hold under a key. Raises `RefusedFileError`."""
        return counterpart(checkpoint_key, self._names, self.prefixes)


def _choose_blocks(model: "PreTrainedModel", table: type[Architecture] | None) -> str:
    candidates = structure.block_lists(model)
    kind = model.config.model_type
    if table is not None and (table.blocks in candidates or not candidates):
        return table.blocks
    if table is not None:
        raise PluginError(f"the map of {kind} has its blocks at {table.blocks}, the model at {candidates[0]}")
    if len(candidates) != 1:
        found = " and ".join(candidates) or "none"
        message = f"one list of blocks was expected in {kind}, found {found}"
        raise UsageError(message, hint="a plugin can bring its map: editcore_register_architectures")
    return candidates[0]


def _refuse_experts(path: str, blocks: Sequence[nn.Module]) -> None:
    for layer, block in enumerate(blocks):
        experts = structure.expert_path(block)
        if experts is not None:
            message = f"block {layer} keeps experts at {path}.{layer}.{experts}"
            raise UsageError(message, hint="models with experts cannot be edited yet")


def _confirmed(model: nn.Module, blocks: str, found: Mapping[str, str], table: type[Architecture]) -> dict[str, str]:
    """The roles of the table, each either what structure found or what it could not tell."""
    for role, path in table.parts.items():
        if found.get(role, path) != path:
            raise PluginError(f"the map of {table.name} has {role} at {path}, the model's structure at {found[role]}")
        try:
            model.get_submodule(f"{blocks}.0.{path}" if role in IN_BLOCK else path)
        except AttributeError as error:
            if role == "head" and "head" not in found:
                continue  # the bare model of the family, without its head
            raise PluginError(f"the map of {table.name} has {role} at {path}, where this model has nothing") from error
    return {role: path for role, path in table.parts.items() if role != "head" or "head" in found}


def _mlp_width(blocks: Sequence[nn.Module], mlp_out: str, hidden_size: int) -> int:
    widths = set()
    for block in blocks:
        out = structure.projection(mlp_out, block.get_submodule(mlp_out))
        if out is None or out.n_out != hidden_size:
            raise UsageError(f"mlp_out at {mlp_out} is not a projection to the hidden size {hidden_size}")
        widths.add(out.n_in)
    if len(widths) != 1:
        raise UsageError(f"the MLPs of this model differ in width: {', '.join(map(str, sorted(widths)))}")
    return widths.pop()


def _tied(parameters: Mapping[str, nn.Parameter]) -> tuple[tuple[str, ...], ...]:
    groups: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(id(parameter), []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)
