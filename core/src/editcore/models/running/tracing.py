"""Read, replace and cut short what flows through a model, by hooks that are always taken off again."""

from collections.abc import Callable, Mapping
from inspect import signature
from types import TracebackType
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import nn
from torch.utils.hooks import RemovableHandle

from editcore.models.anatomy.stacks import IN_BLOCK
from editcore_hooks import Anatomy, Site

Place = Site | nn.Module
Edit = Callable[[torch.Tensor], torch.Tensor]


@frozen
class Tap:
    """An action at a place: keep its input, keep its output, replace its output by `edit(output)` or `mix(input,
    output)`.

    Both return a new tensor; changing an argument in place would change what other modules already saw.
    """

    input: bool = False
    output: bool = False
    edit: Edit | None = None
    mix: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None

    @property
    def after(self) -> bool:
        """Whether there is something to do once the place has run."""
        return self.output or self.edit is not None or self.mix is not None


class _Stop(Exception):
    """Ends a forward pass from inside; caught by the trace that raised it and no other."""


class Trace:
    """Hooks on modules for the length of a `with` block.

        with Trace(anatomy, {Site("mlp_out", 3): Tap(input=True)}, stop=True) as trace:
            forward(model, batch)
        keys = trace.input(Site("mlp_out", 3))  # (B, T, width)

    The first tensor counts where a module takes or returns several; kept tensors are those of the latest call, after
    `edit`. At a site they are (B, T, ·), also in families that flatten rows for their MLP. With `stop` the pass ends
    once every place was reached, and with it the `with` block. `detach=False` keeps the graph. Sites need an `Anatomy`;
    modules do not, and `anatomy` may then be None.
    """

    def __init__(
        self, anatomy: Anatomy | None, taps: Mapping[Place, Tap], *, stop: bool = False, detach: bool = True
    ) -> None:
        self._modules = {place: _module(anatomy, place) for place in taps}
        self._blocks = {place: block for place in taps if (block := _block(anatomy, place)) is not None}
        self._rows: dict[nn.Module, torch.Size] = {}  # (B, T) of what a block reads
        self._taps = dict(taps)
        self._stop, self._detach = stop, detach
        self._waiting: set[Place] = set()
        self._end = _Stop()
        self._inputs: dict[Place, torch.Tensor] = {}
        self._outputs: dict[Place, torch.Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def input(self, place: Place) -> torch.Tensor:
        """The input of the place. Raises `KeyError` if it was not requested or not reached."""
        return self._inputs[place]

    def output(self, place: Place) -> torch.Tensor:
        """The output of the place. Raises `KeyError` if it was not requested or not reached."""
        return self._outputs[place]

    def __enter__(self) -> "Trace":
        self._waiting = set(self._taps)
        for block in set(self._blocks.values()):
            self._handles.append(block.register_forward_pre_hook(self._note_rows, with_kwargs=True))
        for place, tap in self._taps.items():
            module = self._modules[place]
            if tap.input:
                self._handles.append(module.register_forward_pre_hook(self._before(place, tap), with_kwargs=True))
            if tap.after:
                self._handles.append(module.register_forward_hook(self._after(place, tap), with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        return error is self._end

    def _note_rows(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._rows[block] = first_argument(block, args, kwargs).shape[:-1]

    def _in_rows(self, place: Place, tensor: torch.Tensor) -> torch.Tensor:
        """(B, T, ·) of what OPT flattens to (B·T, ·); anything else as it is."""
        rows = self._rows.get(self._blocks[place]) if place in self._blocks else None
        flat = rows is not None and tensor.ndim == 2 == len(rows) and len(tensor) == rows.numel()
        return tensor.reshape(*rows, -1) if rows is not None and flat else tensor

    def _before(self, place: Place, tap: Tap) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._inputs[place] = self._kept(self._in_rows(place, first_argument(module, args, kwargs)))
            if not tap.after:
                self._reached(place)

        return hook

    def _after(self, place: Place, tap: Tap) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
            # blocks return tuples in some versions and families, and bare tensors in others
            made, rest = (result[0], result[1:]) if isinstance(result, tuple) else (result, None)
            output = self._in_rows(place, made)
            if tap.edit is not None:
                output = tap.edit(output)
            if tap.mix is not None:
                output = tap.mix(self._in_rows(place, first_argument(module, args, kwargs)), output)
            if tap.output:
                self._outputs[place] = self._kept(output)
                output = output.clone()  # Falcon adds to the output of its MLP in place: what is kept would change
            self._reached(place)
            output = output.reshape(made.shape)
            return output if rest is None else (output, *rest)

        return hook

    def _kept(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach() if self._detach else tensor

    def _reached(self, place: Place) -> None:
        self._waiting.discard(place)
        if self._stop and not self._waiting:
            raise self._end


def _module(anatomy: Anatomy | None, place: Place) -> nn.Module:
    if isinstance(place, nn.Module):
        return place
    if anatomy is None:
        raise ValueError(f"{place} is a site: a trace needs the anatomy to find it")
    return anatomy.module(place)


def _block(anatomy: Anatomy | None, place: Place) -> nn.Module | None:
    if anatomy is None or not isinstance(place, Site) or place.role not in IN_BLOCK:
        return None
    return anatomy.module(attrs.evolve(place, role="block"))


def first_argument(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """The input of a hook's module, by position or by name."""
    if args:
        return args[0]  # type: ignore[no-any-return]
    return kwargs[next(iter(signature(module.forward).parameters))]  # type: ignore[no-any-return]
