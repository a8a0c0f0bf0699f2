"""Branches beside the modules of one model, added to their outputs: y += f(x). No weight is touched.

Of several branches at one module the sum is taken in ascending owner, whatever order they were put on in, so that one
set of patches always gives one result; and it is added once, so that with the last one gone nothing is left of it.
Branches of one sort that read and add at the same modules are computed as one: a thousand patches cost a few products
and not a few thousand.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self, runtime_checkable

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from editcore.models.running.tracing import first_argument


@runtime_checkable
class Joins(Protocol):
    """A computation of which several can be done as one."""

    def __call__(self, x: Tensor, /) -> Tensor: ...

    @classmethod
    def joined(cls, several: Sequence[Any]) -> Self:
        """One that computes their sum."""
        ...


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
    _joined: dict[nn.Module, list[Branch]] = field(factory=dict)
    """What runs at each module that is added to, joined when it is first used."""

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

    def _at(self, module: nn.Module) -> list[Branch]:
        """The branches that add to a module, those of one sort as one, at the place of the first."""
        if module not in self._joined:
            groups: dict[Any, list[Branch]] = {}
            for branch in self._running():
                if branch.adds_to is module:
                    alone = not isinstance(branch.compute, Joins)
                    groups.setdefault(branch if alone else (branch.reads, type(branch.compute)), []).append(branch)
            self._joined[module] = [_one(group) for group in groups.values()]
        return self._joined[module]

    def _rehook(self) -> None:
        self._joined.clear()
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
        for branch in self._at(module):
            beside = branch.reads is module
            x = first_argument(module, args, kwargs) if beside else self._inputs[branch.reads]
            used |= set() if beside else {branch.reads}
            added = branch.compute(x)
            total = added if total is None else total + added
        for reads in used:
            del self._inputs[reads]  # an input is as large as the batch
        return output if total is None else output + total.to(output.device, output.dtype)


def _one(group: Sequence[Branch]) -> Branch:
    first = group[0]
    if len(group) == 1:
        return first
    compute: Any = first.compute
    return Branch(first.reads, first.adds_to, compute.joined([branch.compute for branch in group]))


@frozen(eq=False)
class LowRankBranch:
    """y += out (in_ x), with out (d_out, r) and in_ (r, d_in), computed in float32 or wider."""

    out: Tensor
    in_: Tensor

    def __call__(self, x: Tensor) -> Tensor:  # (..., d_in) → (..., d_out)
        dtype = torch.promote_types(x.dtype, torch.float32)
        right, left = self.in_.to(x.device, dtype), self.out.to(x.device, dtype)
        return x.to(dtype) @ right.T @ left.T

    @classmethod
    def joined(cls, several: Sequence["LowRankBranch"]) -> "LowRankBranch":
        """The sum, of the ranks together."""
        return cls(torch.cat([one.out for one in several], 1), torch.cat([one.in_ for one in several]))
