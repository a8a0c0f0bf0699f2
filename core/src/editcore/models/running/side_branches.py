"""Branches beside the modules of one model, added to their outputs: y += f(x). No weight is touched.

Of several branches at one module the sum is taken in ascending owner, whatever order they were put on in, so that one
set of patches always gives one result; and it is added once, so that with the last one gone nothing is left of it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from editcore.models.running.tracing import first_argument


@frozen(eq=False)
class Branch:
    """`compute` maps the input of `reads`, (..., d_in), to what is added to the output of `adds_to`, (..., d_out)."""

    reads: nn.Module
    adds_to: nn.Module
    compute: Callable[[Tensor], Tensor]


@define(eq=False)
class SideBranches:
    """The branches of one model by owner, the id of a patch. Hooks are there only while a branch needs them."""

    _branches: dict[str, tuple[Branch, ...]] = field(factory=dict)
    _hooks: dict[tuple[str, nn.Module], RemovableHandle] = field(factory=dict)
    _inputs: dict[nn.Module, Tensor] = field(factory=dict)
    _shown: Collection[str] | None = None

    def put(self, owner: str, branches: Sequence[Branch]) -> None:
        """Let the branches of `owner` run from now on."""
        self._branches[owner] = tuple(branches)
        self._rehook()

    def take(self, owner: str) -> None:
        """Take those of `owner` off, in any order."""
        del self._branches[owner]
        self._rehook()

    def __contains__(self, owner: str) -> bool:
        return owner in self._branches

    @contextmanager
    def only(self, owners: Collection[str]) -> Iterator[None]:
        """For the body the branches of these owners and of no others."""
        before, self._shown = self._shown, owners
        self._rehook()
        try:
            yield
        finally:
            self._shown = before
            self._rehook()

    def _running(self) -> list[Branch]:
        chosen = [owner for owner in sorted(self._branches) if self._shown is None or owner in self._shown]
        return [branch for owner in chosen for branch in self._branches[owner]]

    def _rehook(self) -> None:
        running = self._running()
        wanted = {("add", branch.adds_to) for branch in running}
        wanted |= {("read", branch.reads) for branch in running if branch.reads is not branch.adds_to}
        for gone in self._hooks.keys() - wanted:
            self._hooks.pop(gone).remove()
            self._inputs.pop(gone[1], None)  # of a pass that was stopped before its output
        for what, module in wanted - self._hooks.keys():
            if what == "read":
                handle = module.register_forward_pre_hook(self._keep, with_kwargs=True)
            else:
                # Before all others: what a memory or a trace sees is the output with the branches.
                handle = module.register_forward_hook(self._add, with_kwargs=True, prepend=True)
            self._hooks[what, module] = handle

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._inputs[module] = first_argument(module, args, kwargs)

    def _add(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        total: Tensor | None = None
        used = set()
        for branch in self._running():
            if branch.adds_to is not module:
                continue
            beside = branch.reads is module
            x = first_argument(module, args, kwargs) if beside else self._inputs[branch.reads]
            used |= set() if beside else {branch.reads}
            added = branch.compute(x)
            total = added if total is None else total + added
        for reads in used:
            del self._inputs[reads]  # an input is as large as the batch
        return output if total is None else output + total.to(output.device, output.dtype)


def low_rank(out: Tensor, in_: Tensor) -> Callable[[Tensor], Tensor]:
    """y += out (in_ x), with out (d_out, r) and in_ (r, d_in), computed in float32 or wider."""

    def compute(x: Tensor) -> Tensor:  # (..., d_in) → (..., d_out)
        dtype = torch.promote_types(x.dtype, torch.float32)
        right, left = in_.to(x.device, dtype), out.to(x.device, dtype)
        return x.to(dtype) @ right.T @ left.T

    return compute
