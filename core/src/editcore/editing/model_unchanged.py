"""Invariant 1: computing an update changes nothing in the model. RNG and modes are restored, the rest is checked."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from editcore_hooks import PluginError


@contextmanager
def model_unchanged(model: nn.Module, what: str) -> Iterator[None]:
    """Run the body, then put RNG state, train modes and `requires_grad` back.

    Raises `PluginError` naming `what` when a weight or buffer has other bits, or a hook was left behind.
    """
    modes = {name: module.training for name, module in model.named_modules()}
    needs_grad = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    hooks, weights = _hooks(model), _checksums(model)
    python, cpu = random.getstate(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(cpu)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        for name, module in model.named_modules():
            module.training = modes.get(name, module.training)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(needs_grad.get(name, False))
    if changed := sorted(_differing(weights, _checksums(model))):
        raise PluginError(f"{what} changed {changed[0]} while it computed an update", hint="report this to its authors")
    if left := sorted(_differing(hooks, _hooks(model))):
        raise PluginError(f"{what} left a hook on {left[0] or 'the model'}", hint="report this to its authors")


def _hooks(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(
            len(table)
            for table in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            )
        )
        for name, module in model.named_modules()
    }


def _checksums(model: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: _checksum(tensor.detach()) for name, tensor in tensors.items() if tensor.device.type != "meta"}


def _checksum(tensor: Tensor) -> tuple[int, ...]:
    """Sums of the bits as integers, by stride: one pass of memory, no copy. Catches accidents, not attacks."""
    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    bits = tensor.contiguous().view(-1).view(width)
    return (bits.numel(), *(int(bits[start::7].sum(dtype=torch.int64)) for start in range(7)))


def _differing(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
