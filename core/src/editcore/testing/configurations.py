"""The configuration of each family's tiny model, by the names that transformers gives to its parts."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from editcore.models.loading.old_versions import heeds_masks

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Style = Literal["byte_level", "metaspace", "unigram"]
Make = Callable[[int, int, Mapping[str, Any]], "PreTrainedConfig"]
"""From vocabulary size, number of layers and the ids of special tokens."""

HIDDEN, WIDTH, HEADS, POSITIONS = 32, 48, 4, 128


def _config(model_type: str, **values: Any) -> "PreTrainedConfig":
    from transformers import AutoConfig

    return AutoConfig.for_model(model_type, **values)


def _gated(model_type: str, **more: Any) -> Make:
    def make(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
        values = {
            **special,
            "vocab_size": vocabulary,
            "hidden_size": HIDDEN,
            "intermediate_size": WIDTH,
            "num_hidden_layers": n_layers,
            "num_attention_heads": HEADS,
            "num_key_value_heads": 2,
            "max_position_embeddings": POSITIONS,
            **more,
        }
        return _config(model_type, **values)

    return make


def _plain(model_type: str, counts: tuple[str, str], sizes: Mapping[str, int], **more: Any) -> Make:
    """`counts` are the names that the family's configuration has for the numbers of layers and of heads."""
    layers, heads = counts

    def make(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
        numbers = {"vocab_size": vocabulary, layers: n_layers, heads: HEADS}
        return _config(model_type, **special, **numbers, **sizes, **more)

    return make


def _gpt_neo(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
    kinds = [[["global"], n_layers - 1], [["local"], 1]]
    more = {"num_layers": n_layers, "num_heads": HEADS, "attention_types": kinds, "window_size": 16}
    sizes = {"vocab_size": vocabulary, "hidden_size": HIDDEN, "max_position_embeddings": POSITIONS}
    return _config("gpt_neo", **special, **sizes, **more)


def _gemma3(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
    """A vision tower that is longer than the text model: the longest list of blocks is not the one to edit."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": WIDTH,
        "num_hidden_layers": n_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": POSITIONS,
        "sliding_window": 16,
        **special,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": n_layers + 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    images = {"image_token_index": 0, "boi_token_index": 0, "eoi_token_index": 0, "mm_tokens_per_image": 4}
    return _config("gemma3", text_config=text, vision_config=vision, **images, **special)


def _qwen3_next(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
    """Dense, as no model with experts is edited."""
    dense = {"num_experts": 0, "mlp_only_layers": []}
    return _config("qwen3_next", **_sizes(vocabulary, n_layers, special), **_linear(n_layers), **dense)


def _qwen3_5(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
    """A text model inside a multimodal one."""
    text = {**_sizes(vocabulary, n_layers, special), **_linear(n_layers)}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": HIDDEN}
    return _config("qwen3_5", text_config=text, vision_config={**vision, "num_position_embeddings": 16})


def _sizes(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": WIDTH,
        "num_hidden_layers": n_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": POSITIONS,
        **special,
    }


def _linear(n_layers: int) -> dict[str, Any]:
    """Linear attention in all blocks but the last."""
    return {
        "layer_types": [*["linear_attention"] * (n_layers - 1), "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }


def _known(model_type: str) -> bool:
    """Whether this transformers has the family and reads it rightly: not so in the oldest. Does not import it."""
    if model_type in WITH_STATE and not heeds_masks():
        return False
    found = find_spec("transformers")
    places = (found.submodule_search_locations if found is not None else None) or ()
    return any((Path(place) / "models" / model_type.removesuffix("_text")).is_dir() for place in places)


def _t5(**more: Any) -> Make:
    def make(vocabulary: int, n_layers: int, special: Mapping[str, Any]) -> "PreTrainedConfig":
        sizes = {"vocab_size": vocabulary, "d_model": HIDDEN, "d_kv": 8, "d_ff": WIDTH, "num_heads": HEADS}
        layers = {"num_layers": n_layers + 1, "num_decoder_layers": n_layers}
        start = {"decoder_start_token_id": special["pad_token_id"]}
        ids = {key: value for key, value in special.items() if key != "bos_token_id"}
        return _config("t5", **sizes, **layers, **start, **ids, **more)

    return make


_SIZES: Final = {"hidden_size": HIDDEN, "max_position_embeddings": POSITIONS}
_FALCON: Final = {"hidden_size": HIDDEN, "ffn_hidden_size": WIDTH, "max_position_embeddings": POSITIONS}
_GPT: Final = {"n_embd": HIDDEN, "n_positions": POSITIONS}
_SHORT: Final = ("n_layer", "n_head")
_LAYERS: Final = ("num_hidden_layers", "num_attention_heads")

_ALL: Final[Mapping[str, tuple[Make, Style]]] = {
    "gpt2": (_plain("gpt2", _SHORT, _GPT), "byte_level"),
    "gpt_neo": (_gpt_neo, "byte_level"),
    "gptj": (_plain("gptj", _SHORT, _GPT, rotary_dim=4), "byte_level"),
    "gpt_neox": (_plain("gpt_neox", _LAYERS, _SIZES, intermediate_size=WIDTH), "byte_level"),
    "llama": (_gated("llama", tie_word_embeddings=False), "metaspace"),
    "mistral": (_gated("mistral", tie_word_embeddings=False, sliding_window=None), "metaspace"),
    "qwen2": (_gated("qwen2", tie_word_embeddings=True), "byte_level"),
    "qwen3": (_gated("qwen3", tie_word_embeddings=True, head_dim=16), "byte_level"),
    "qwen3_next": (_qwen3_next, "byte_level"),
    "qwen3_5": (_qwen3_5, "byte_level"),
    "gemma": (_gated("gemma", head_dim=16), "metaspace"),
    "gemma2": (_gated("gemma2", head_dim=16, query_pre_attn_scalar=16, sliding_window=16), "metaspace"),
    "gemma3": (_gemma3, "metaspace"),
    "gemma3_text": (_gated("gemma3_text", head_dim=8, sliding_window=16), "metaspace"),
    "phi": (_plain("phi", _LAYERS, _SIZES, intermediate_size=WIDTH, tie_word_embeddings=False), "byte_level"),
    "phi3": (_gated("phi3", tie_word_embeddings=False), "metaspace"),
    "falcon": (_plain("falcon", _LAYERS, _FALCON, parallel_attn=True, bias=False), "byte_level"),
    "falcon_new": (
        _plain("falcon", _LAYERS, _FALCON, new_decoder_architecture=True, num_kv_heads=2, bias=False),
        "byte_level",
    ),
    "opt": (_plain("opt", _LAYERS, _SIZES, ffn_dim=WIDTH, word_embed_proj_dim=HIDDEN), "byte_level"),
    "bloom": (_plain("bloom", _SHORT, {"hidden_size": HIDDEN}), "byte_level"),
    "t5": (_t5(feed_forward_proj="relu"), "unigram"),
    "t5_gated": (_t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False), "unigram"),
}
WITH_STATE: Final = ("qwen3_next", "qwen3_5")
"""Families with blocks that keep a state in place of keys and values."""
_FAMILY: Final = {"falcon_new": "falcon", "t5_gated": "t5"}
CONFIGURATIONS: Final = {family: each for family, each in _ALL.items() if _known(_FAMILY.get(family, family))}
"""By family: how its configuration is made, and the style of its tokenizer."""
