"""Llama and the families that took over its block: a gated MLP, `down_proj(act(gate_proj(x)) * up_proj(x))`."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


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
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)
    width = "intermediate_size"


class Mistral(Llama):
    name = "mistral"
    summary = "Mistral 7B and Nemo: gated MLP, attention in a window in the first release"


class Qwen2(Llama):
    name = "qwen2"
    summary = "Qwen 2 and 2.5: gated MLP, biased q, k and v, small models with a tied head"


class Qwen3(Llama):
    """`o_proj` can have the shape of a down-projection: heads times their width is not the hidden size."""

    name = "qwen3"
    summary = "Qwen 3: gated MLP, norms on q and k, small models with a tied head"


class Qwen3Next(Llama):
    """Blocks with linear attention among those with attention: `attn_out` is at no one place, so it is not named."""

    name = "qwen3_next"
    summary = "Qwen 3 Next without experts: linear attention in three of four blocks"
    parts: ClassVar[Mapping[str, str]] = {role: path for role, path in Llama.parts.items() if role != "attn_out"}


class Qwen35(Qwen3Next):
    """transformers opens the multimodal releases as the text model alone, whose files name it inside another."""

    name = "qwen3_5_text"
    summary = "Qwen 3.5: linear attention in three of four blocks; the tower is left out"
    prefixes = ("model.", "model.language_model.", "language_model.model.", "language_model.")


class Phi3(Llama):
    """Gate and up are one matrix, so neither `mlp_gate` nor `mlp_in` is a weight that can be named; `mlp_out` is."""

    name = "phi3"
    summary = "Phi 3 and 4: gate and up fused in one matrix"
    parts: ClassVar[Mapping[str, str]] = {
        role: path for role, path in Llama.parts.items() if role not in ("mlp_in", "mlp_gate")
    }


ARCHITECTURES: Final = [Llama, Mistral, Qwen2, Qwen3, Qwen3Next, Qwen35, Phi3]
