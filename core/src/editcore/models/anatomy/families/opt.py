"""OPT and Phi: a plain MLP of `fc1` and `fc2`."""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore_hooks import Architecture


class OPT(Architecture):
    """The MLP hangs on the block itself. OPT-350m norms after each layer and has no norm at the end."""

    name = "opt"
    summary = "OPT: head tied to the embedding"
    blocks = "model.decoder.layers"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "fc1",
        "mlp_out": "fc2",
        "attn_out": "self_attn.out_proj",
        "final_norm": "model.decoder.final_layer_norm",
        "head": "lm_head",
        "embed": "model.decoder.embed_tokens",
    }
    prefixes = ("model.", "model.decoder.", "decoder.")
    width = "ffn_dim"


class Phi(Architecture):
    """Attention and MLP read the same norm and are added together."""

    name = "phi"
    summary = "Phi 1, 1.5 and 2: attention and MLP in parallel, untied head with a bias"
    blocks = "model.layers"
    parts: ClassVar[Mapping[str, str]] = {
        "mlp_in": "mlp.fc1",
        "mlp_out": "mlp.fc2",
        "attn_out": "self_attn.dense",
        "final_norm": "model.final_layernorm",
        "head": "lm_head",
        "embed": "model.embed_tokens",
    }
    prefixes = ("model.",)
    width = "intermediate_size"


ARCHITECTURES: Final = [OPT, Phi]
