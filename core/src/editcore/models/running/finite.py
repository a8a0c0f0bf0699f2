"""The place where a model first gives NaN or infinity. Asked only after a failure, so it costs nothing otherwise."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import decoder_start, forward, forward_pair, pad
from editcore_hooks import EditcoreError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAYER: Final = re.compile(r"\.(\d+)(?:\.|$)")


class _Found(Exception):
    """Ends the forward at the first module whose output is not finite."""


def not_finite(model: "PreTrainedModel", rows: Sequence[Sequence[int]], *, weights_only: bool = False) -> str | None:
    """The first module that makes NaN or infinity of finite input when the model reads `rows`, in words; None without.

    With `weights_only` only one whose own weight is not finite counts.
    """
    handles, met = [], []

    def look(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            made = output[0] if isinstance(output, tuple) else output
            bad = _bad(made) if isinstance(made, torch.Tensor) else None
            if bad is not None:
                met.append((path, module, bad))
                raise _Found

        return hook

    try:
        handles = [module.register_forward_hook(look(path)) for path, module in model.named_modules()]
        with torch.no_grad():
            _read(model, rows)
    except _Found:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return _in_words(model, *met[0], weights_only) if met else None


@contextmanager
def explained(model: "PreTrainedModel", rows: Callable[[], Sequence[Sequence[int]]]) -> Iterator[None]:
    """An error of the body becomes that of the model, where it gives NaN or infinity for `rows()` by itself."""
    try:
        yield
    except UsageError:
        raise
    except (EditcoreError, RuntimeError) as error:
        refuse_not_finite(model, rows(), error)
        raise


def refuse_not_finite(
    model: "PreTrainedModel",
    rows: Sequence[Sequence[int]],
    cause: Exception | None = None,
    *,
    weights_only: bool = False,
) -> None:
    """Raise `EditcoreError` where the model gives NaN or infinity for `rows`."""
    found = not_finite(model, rows, weights_only=weights_only)
    if found is not None:
        hint = "use another copy of its weights"
        if "output of" in found:
            hint = "use another copy of its weights" if model.dtype == torch.float32 else "pass --dtype float32"
        raise EditcoreError(f"the model gives {found}", hint=hint) from cause


def _read(model: "PreTrainedModel", rows: Sequence[Sequence[int]]) -> None:
    batch = pad(rows).to(device_of(model))
    if model.config.is_encoder_decoder:
        forward_pair(model, batch, pad([[decoder_start(model)]] * len(rows)).to(device_of(model)))
    else:
        forward(model, batch)


def _bad(tensor: torch.Tensor) -> str | None:
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return None
    return "NaN" if bool(torch.isnan(tensor).any()) else "inf"


def _in_words(model: "PreTrainedModel", path: str, module: nn.Module, bad: str, weights_only: bool) -> str | None:
    layer = _LAYER.search(path)
    where = f"at layer {layer[1]}" if layer else f"at {path or 'its output'}"
    for name, weight in module.named_parameters():
        if not weight.is_meta and _bad(weight) is not None:
            return f"{bad} {where} (weight {path}.{name})" if path else f"{bad} {where} (weight {name})"
    dtype = str(model.dtype).removeprefix("torch.")
    return None if weights_only else f"{bad} {where} (output of {path or 'the model'}, in {dtype})"
