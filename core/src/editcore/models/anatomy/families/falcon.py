"""Falcon and BLOOM: one block, query, key and value in one matrix."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


class Bloom(Architecture):
    """The released files name tensors without `transformer.`. A norm follows the embedding.

    The MLPs are four times as wide as the hidden state, and no number in the configuration says otherwise.
    """

    name = "bloom"
    summary = "BLOOM: ALiBi, head tied to the embedding"
    blocks = "transformer.h"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "mlp.dense_h_to_4h",
        "mlp_out": "mlp.dense_4h_to_h",
        "attn_out": "self_attention.dense",
        "final_norm": "transformer.ln_f",
        "head": "lm_head",
        "embed": "transformer.word_embeddings",
    }
    prefixes = ("transformer.",)


class Falcon(Bloom):
    """One map for all: 7B has one norm for attention and MLP in parallel, 40B and 180B two, RW runs them in turn."""

    name = "falcon"
    summary = "Falcon 7B, 40B, 180B and RW"
    width = "ffn_hidden_size"


ARCHITECTURES: Final = [Falcon, Bloom]
