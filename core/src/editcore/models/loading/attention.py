"""Which attention a model is loaded with, where torch's own kernel does not run."""

from functools import cache

import torch
from torch.nn.functional import scaled_dot_product_attention

TOKENS = 64
"""From this length on torch chooses the kernel that packs its operands."""


def attention_for(dtype: str) -> dict[str, str]:
    """Options for `from_pretrained` on a CPU: transformers' own attention where torch's fused one refuses `dtype`.

    torch 2.13 packs bfloat16 by what the processor can do, and its kernel by what ATEN_CPU_CAPABILITY allows; where
    the two differ it raises at 64 tokens and more.
    """
    return {} if _runs(getattr(torch, dtype)) else {"attn_implementation": "eager"}


@cache
def _runs(dtype: torch.dtype) -> bool:
    some = torch.zeros(1, 1, TOKENS, 8, dtype=dtype)
    try:
        scaled_dot_product_attention(some, some, some, is_causal=True)
    except RuntimeError:
        return False
    return True
