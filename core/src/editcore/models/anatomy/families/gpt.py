"""GPT-2 and what EleutherAI made after it: a plain MLP with biases."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


class GPT2(Architecture):
    """The released files name tensors without `transformer.`, and `save_pretrained` with it."""

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
    width = "n_inner"


class GPTNeo(GPT2):
    """The names of GPT-2's MLP, but `Linear` weights; attention is global and local by turns."""

    name = "gpt_neo"
    summary = "GPT-Neo: head tied to the embedding"
    parts: ClassVar[Mapping[str, str]] = {**GPT2.parts, "attn_out": "attn.attention.out_proj"}
    width = "intermediate_size"


class GPTJ(GPT2):
    """Attention and MLP read the same norm and are added together; the head has a bias."""

    name = "gptj"
    summary = "GPT-J: attention and MLP in parallel, untied head with a bias"
    parts: ClassVar[Mapping[str, str]] = {
        **GPT2.parts,
        "mlp_in": "mlp.fc_in",
        "mlp_out": "mlp.fc_out",
        "attn_out": "attn.out_proj",
    }


class GPTNeoX(Architecture):
    """The files call the head `embed_out`, and so did transformers before `lm_head`: the model itself tells."""

    name = "gpt_neox"
    summary = "GPT-NeoX and Pythia: attention and MLP in parallel, untied head"
    blocks = "gpt_neox.layers"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "mlp.dense_h_to_4h",
        "mlp_out": "mlp.dense_4h_to_h",
        "attn_out": "attention.dense",
        "final_norm": "gpt_neox.final_layer_norm",
        "embed": "gpt_neox.embed_in",
    }
    prefixes = ("gpt_neox.", "lm_head.", "embed_out.")
    width = "intermediate_size"


ARCHITECTURES: Final = [GPT2, GPTNeo, GPTJ, GPTNeoX]
