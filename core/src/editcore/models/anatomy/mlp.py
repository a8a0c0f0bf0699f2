"""The MLP of a block as a whole: the projections that read its input, the one that gives its output, what is between.

`neurons` gives the function of units appended to it, and the same module tells how a checkpoint is widened by them.
"""

from collections.abc import Callable, Sequence
from typing import cast

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import linear

from editcore.models.anatomy.model_map import Anatomy as ModelMap
from editcore_hooks import Anatomy, EditcoreError, RefusedFileError, Site, UsageError
from editcore_hooks.values import Role


@frozen(eq=False)
class Mlp:
    """Paths from the root of the model. `inner` are the projections into the width: the input, or gate and input.

    `fused` says that gate and input are one projection, gate first. `activation` stands between.
    """

    inner: tuple[str, ...]
    out: str
    activation: nn.Module
    gated: bool
    fused: bool
    width: int
    hidden_size: int


def mlp_of(anatomy: Anatomy, block: Site) -> Mlp:
    """The MLP of a block. Raises `UsageError` when the model has no such block, or its MLP is not understood."""
    stack = cast("ModelMap", anatomy).stacks.get(block.stack)
    out = anatomy.path(attrs.evolve(block, role="mlp_out"))
    assert stack is not None  # `path` has refused another
    fused = stack.fused is not None
    gated = fused or "mlp_gate" in stack.roles
    if stack.fused is not None:
        inner: tuple[str, ...] = (f"{anatomy.path(block)}.{stack.fused}",)
    else:
        roles: tuple[Role, ...] = ("mlp_gate", "mlp_in") if gated else ("mlp_in",)
        inner = tuple(anatomy.path(attrs.evolve(block, role=role)) for role in roles)
    holder = anatomy.model.get_submodule(out.rpartition(".")[0])
    activation = _activation(holder, block)
    return Mlp(inner, out, activation, gated, fused, stack.mlp_width, anatomy.hidden_size)


@frozen(eq=False)
class Appended:
    """Σ act(k x + b) v, or Σ act(g x + b) (k x) v; keys, values and gate (n, d), biases (n,)."""

    activation: Callable[[Tensor], Tensor]
    keys: Tensor
    values: Tensor
    biases: Tensor | None
    gate: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:  # (..., d) → (..., d)
        k, v = self.keys.to(x), self.values.to(x)
        b = None if self.biases is None else self.biases.to(x)
        if self.gate is None:
            hidden = self.activation(linear(x, k, b))
        else:
            hidden = self.activation(linear(x, self.gate.to(x), b)) * linear(x, k)
        return hidden @ v  # (..., n) · (n, d)

    @classmethod
    def joined(cls, several: Sequence["Appended"]) -> "Appended":
        """All neurons of several of one MLP, whose sum this is."""
        biases = [one.keys.new_zeros(len(one.keys)) if one.biases is None else one.biases for one in several]
        gates = [one.gate for one in several if one.gate is not None]
        return cls(
            several[0].activation,
            torch.cat([one.keys for one in several]),
            torch.cat([one.values for one in several]),
            torch.cat(biases) if any(one.biases is not None for one in several) else None,
            torch.cat(gates) if gates else None,
        )


def neurons(
    activation: Callable[[Tensor], Tensor], keys: Tensor, values: Tensor, biases: Tensor | None, gate: Tensor | None
) -> Appended:
    """The function of units: see `Appended`."""
    return Appended(activation, keys, values, biases, gate)


def require_fit(mlp: Mlp, block: Site, shape: tuple[int, ...], gated: bool) -> None:
    """Raise `EditcoreError` when units with keys of `shape` (n, d) are not of this MLP's kind."""
    if shape[1] != mlp.hidden_size:
        raise EditcoreError(
            f"the units of {block} read {shape[1]} numbers, but its MLP reads {mlp.hidden_size}",
            hint="use the base that the patch was made for",
        )
    if gated != mlp.gated:
        kinds = ("a plain", "a gated")
        raise EditcoreError(
            f"the units of {block} belong to {kinds[gated]} MLP, but the model has {kinds[mlp.gated]} one there",
            hint="use the base that the patch was made for",
        )


def _activation(holder: nn.Module, block: Site) -> nn.Module:
    """The one child that has no weights and is no dropout; every supported family keeps its activation as a module."""
    found = [
        child
        for child in holder.children()
        if not isinstance(child, nn.Dropout) and not any(True for _ in child.parameters()) and not list(child.buffers())
    ]
    if len(found) != 1:
        raise UsageError(
            f"the MLP of {block} has no recognisable activation, and units need one", hint="edit weights instead"
        )
    return found[0]


def as_stored(part: Tensor, dtype: torch.dtype, where: str) -> Tensor:
    """Float32 numbers as a checkpoint of `dtype` holds them. Raises `RefusedFileError` when one becomes infinite."""
    stored = part.to(dtype)
    if not bool(stored.isfinite().all()):
        raise RefusedFileError(f"units of {where} overflow {dtype}", hint="use a base in a wider dtype")
    return stored
