"""The model families that this repository knows by name. Each confirms what the structure of the model says."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


class GPT2(Architecture):
    name = "gpt2"
    summary = "GPT-2: Conv1D weights stored [in, out], head tied to the embedding"
    blocks = "transformer.h"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "mlp.c_fc",
        "mlp_out": "mlp.c_proj",
        "attn_out": "attn.c_proj",
        "final_norm": "transformer.ln_f",
        "head": "lm_head",
        "embed": "transformer.wte",
    }
    prefixes = ("transformer.",)


class Llama(Architecture):
    name = "llama"
    summary = "Llama 1 to 3: gated MLP"
    blocks = "model.layers"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "mlp.up_proj",
        "mlp_gate": "mlp.gate_proj",
        "mlp_out": "mlp.down_proj",
        "attn_out": "self_attn.o_proj",
        "final_norm": "model.norm",
        "head": "lm_head",
        "embed": "model.embed_tokens",
    }
    prefixes = ("model.",)


class Qwen2(Llama):
    name = "qwen2"
    summary = "Qwen 2 and 2.5: gated MLP, biased q, k and v, small models with a tied head"


ARCHITECTURES: Final[list[type[Architecture]]] = [GPT2, Llama, Qwen2]
