"""T5: an encoder and a decoder, whose blocks are lists of layers.

A decoder block has three layers, self-attention, attention to the encoder and MLP; an encoder block lacks the second.
`attn_out` is self-attention's. The MLP is `wi` and `wo` in T5 1.0, and `wi_0` (gate), `wi_1` and `wo` in 1.1, Flan-T5
and later: the structure tells which.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


class T5(Architecture):
    """Both stacks read one embedding. In 1.0 it is the head too, of an input scaled by 1/√d; 1.1 has a head."""

    name = "t5"
    summary = "T5 1.0, 1.1 and Flan: encoder and decoder"
    blocks = "decoder.block"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_out": "layer.2.DenseReluDense.wo",
        "attn_out": "layer.0.SelfAttention.o",
        "final_norm": "decoder.final_layer_norm",
        "head": "lm_head",
        "embed": "decoder.embed_tokens",
    }
    encoder_blocks = "encoder.block"
    encoder_parts: ClassVar[Mapping[str, str]] = {
        "mlp_out": "layer.1.DenseReluDense.wo",
        "attn_out": "layer.0.SelfAttention.o",
        "final_norm": "encoder.final_layer_norm",
        "embed": "encoder.embed_tokens",
    }
    width = "d_ff"


ARCHITECTURES: Final = [T5]
