"""The same maths with other kernels of torch, for forward passes that run many times with gradients."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu
from transformers.activations import NewGELUActivation

from editcore_hooks import Anatomy


@contextmanager
def quick_kernels(anatomy: Anatomy) -> Iterator[None]:
    """GELU by tanh in one kernel instead of eight, and attention in 16 bits on a CPU by plain products.

    There torch's fused attention takes ten times as long backward. Results differ by rounding alone.
    """
    model = anatomy.model
    activations = [module for module in model.modules() if isinstance(module, NewGELUActivation)]
    with ExitStack() as entered:
        if model.device.type == "cpu" and model.dtype in (torch.bfloat16, torch.float16):
            entered.enter_context(sdpa_kernel(SDPBackend.MATH))
        for module in activations:
            module.forward = partial(gelu, approximate="tanh")  # type: ignore[method-assign]
        try:
            yield
        finally:
            for module in activations:
                del module.forward
