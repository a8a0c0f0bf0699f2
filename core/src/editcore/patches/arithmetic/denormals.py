"""Whether this process rounds very small numbers to zero, as `torch.set_flush_denormal(True)` has it do.

The mode belongs to a thread, and threads inherit it when they start. Sums of patches must not depend on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from editcore_hooks import EditcoreError

_SMALL: Final = 2**40
"""The bits of a number in float64 that is far below the smallest normal one: written out, it could be zero already."""
_GRAIN: Final = 2**15
"""Elements of an operation that torch gives to one thread before it uses another."""


@contextmanager
def small_numbers_kept(elements: int) -> Iterator[None]:
    """Compute the body, on tensors of so many elements, with small numbers as they are; the mode of the process is put
    back after it.

    Raises `EditcoreError` on a processor that cannot.
    """
    threads = torch.get_num_threads()
    shared = threads > 1 and elements > _GRAIN
    here, elsewhere = _flushes(1), shared and _flushes(2 * threads * _GRAIN)
    if not here and not elsewhere:
        yield
        return
    try:
        if here:
            torch.set_flush_denormal(False)
        if shared and _flushes(2 * threads * _GRAIN):  # a thread that started in that mode stays in it
            torch.set_num_threads(1)
        if _flushes(1):
            raise EditcoreError(
                "this process rounds small numbers to zero, and a patch would get other bits",
                hint="call torch.set_flush_denormal(False) before you use editcore",
            )
        yield
    finally:
        torch.set_num_threads(threads)
        if here:
            torch.set_flush_denormal(True)


def _flushes(count: int) -> bool:
    """Whether a multiplication of so many small numbers makes one of them zero."""
    small = torch.full((count,), _SMALL, dtype=torch.int64).view(torch.float64)
    return not bool((small * 0.5).view(torch.int64).all())
