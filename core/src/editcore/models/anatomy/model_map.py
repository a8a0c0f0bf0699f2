"""The map of a model: from a `Site`, free of any family's names, to modules, parameters and keys in files."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import field, frozen
from torch import nn

from editcore.models.anatomy import structure
from editcore.models.anatomy.architecture_file import GivenArchitecture
from editcore.models.anatomy.families import ARCHITECTURES
from editcore.models.anatomy.parameter_keys import counterpart
from editcore.models.anatomy.stacks import StackMap
from editcore.models.anatomy.survey import survey
from editcore.models.loading.offload import Values, identity, values_of
from editcore_hooks import Architecture, Site, UsageError
from editcore_hooks.values import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@frozen(eq=False)
class Anatomy:
    """The place of every part. `blocks`, `roles`, `n_layers` and `mlp_width` are those of the decoder; an encoder has
    its own in `stacks["encoder"]`.

    `tied` groups names of parameters that share storage; `family` names the table that confirmed the map, if any;
    `given` is the map by file that decided it, if any.
    """

    model: "PreTrainedModel" = field(repr=False)
    stacks: Mapping[Stack, StackMap]
    hidden_size: int
    prefixes: tuple[str, ...]
    family: str | None
    given: type[GivenArchitecture] | None
    tied: tuple[tuple[str, ...], ...]
    _names: frozenset[str] = field(repr=False)

    @classmethod
    def of(
        cls,
        model: "PreTrainedModel",
        architectures: Iterable[type[Architecture]] = ARCHITECTURES,
        given: type[GivenArchitecture] | None = None,
    ) -> "Anatomy":
        """Find the map from the structure of `model`, confirmed by the table of its family where there is one.

        `given` is a map that a person wrote: it wins over structure and tables. Raises `UsageError` when the structure
        is not clear and no table helps, when `given` does not fit, and for experts; `PluginError` when structure and
        table say different things.
        """
        text = model.config.get_text_config()
        tables = {table.name: table for table in architectures}
        table = tables.get(model.config.model_type) or tables.get(text.model_type)
        stacks = survey(model, given or table, corrects=given is not None)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        prefixes = (f"{model.base_model_prefix}.",) if table is None else table.prefixes
        return cls(
            model=model,
            stacks=stacks,
            hidden_size=text.hidden_size,
            prefixes=given.prefixes if given is not None and given.prefixes else prefixes,
            family=None if table is None or given is not None else table.name,
            given=given,
            tied=_tied(model, parameters),
            names=frozenset(parameters),
        )

    @property
    def blocks(self) -> str:
        """Path of the decoder's list of blocks."""
        return self.stacks["decoder"].blocks

    @property
    def roles(self) -> Mapping[str, str]:
        """Role to path in the decoder: inside a block for `IN_BLOCK`, from the root for `AT_ROOT`."""
        return self.stacks["decoder"].roles

    @property
    def n_layers(self) -> int:
        """Number of blocks of the decoder."""
        return self.stacks["decoder"].n_layers

    @property
    def mlp_width(self) -> int:
        """Input size of the decoder's `mlp_out`."""
        return self.stacks["decoder"].mlp_width

    def path(self, site: Site) -> str:
        """The dotted path of the site's module. Raises `UsageError` when the model has no such site."""
        if site.expert is not None:
            raise UsageError(f"{site}: this model has no experts", hint="leave out the expert")
        if site.stack not in self.stacks:
            raise UsageError(f"{site}: this model has one stack, the decoder", hint="leave out the stack")
        return self.stacks[site.stack].path(site)

    def module(self, site: Site) -> nn.Module:
        """The module at the site."""
        return self.model.get_submodule(self.path(site))

    def widths(self, site: Site) -> tuple[int, int]:
        """The widths in and out (d_in, d_out) of the site's module. Raises `UsageError` as `path` does."""
        found = structure.projection(self.path(site), self.module(site))
        return (self.hidden_size, self.hidden_size) if found is None else (found.n_in, found.n_out)

    def name(self, site: Site) -> str:
        """The name in memory of the site's weight. Raises `UsageError` for a whole block."""
        if site.role == "block":
            raise UsageError(f"{site} is a whole block", hint="name one of its parts, such as mlp_out")
        return f"{self.path(site)}.weight"

    def transposed(self, site: Site) -> bool:
        """Whether the site's weight is stored [in, out] instead of [out, in]."""
        return structure.is_transposed(self.module(site))

    def parameter(self, site: Site) -> tuple[str, nn.Parameter, bool]:
        """Name and parameter of the site's weight, and whether it is stored [in, out] instead of [out, in].

        An embedding counts as its tied head, [vocabulary, hidden]. Raises `UsageError` for a whole block and for
        weights that were offloaded: those have no values to hold a gradient or take an assignment.
        """
        name = self.name(site)
        parameter = self.model.get_parameter(name)
        if parameter.is_meta:
            raise UsageError(f"{name} is offloaded", hint="load the model on one device")
        return name, parameter, self.transposed(site)

    def weight(self, site: Site) -> torch.Tensor:
        """The site's weight without gradient, in canonical orientation: (out, in), or (hidden,) of a norm.

        A view of the parameter; of an offloaded one a copy, fetched at each call.
        """
        values = self.values(self.name(site)).read()
        return values.T if self.transposed(site) else values

    def values(self, parameter_name: str) -> Values:
        """The values of a parameter to read and to write, wherever they are kept. Raises `UsageError`."""
        return values_of(self.model, (parameter_name, *self._partners(parameter_name)))

    def site_of(self, parameter_name: str) -> Site | None:
        """The site whose weight the parameter is, by itself or by what it is tied to; None for what no site names."""
        for names in ([parameter_name], self._partners(parameter_name)):
            for stack, found in self.stacks.items():
                for name in names:
                    named = found.named(name.removesuffix(".weight")) if name.endswith(".weight") else None
                    if named is not None:
                        return Site(*named, stack=stack)
        return None

    def key_of(self, parameter_name: str, checkpoint_keys: Collection[str]) -> str:
        """The key under which the files hold a parameter; that of the embedding for a tied head.

        Raises `RefusedFileError` when no key or more than one corresponds.
        """
        return counterpart(parameter_name, checkpoint_keys, self.prefixes, self._partners(parameter_name))

    def parameter_of(self, checkpoint_key: str) -> str:
        """The name in memory of the tensor that the files hold under a key. Raises `RefusedFileError`."""
        return counterpart(checkpoint_key, self._names, self.prefixes)

    def _partners(self, parameter_name: str) -> list[str]:
        return [name for group in self.tied if parameter_name in group for name in group if name != parameter_name]


def _tied(model: "PreTrainedModel", parameters: Mapping[str, nn.Parameter]) -> tuple[tuple[str, ...], ...]:
    groups: dict[Any, list[str]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(identity(model, name, parameter), []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)
