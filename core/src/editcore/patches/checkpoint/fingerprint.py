"""Identify a model: hashes of stored tensors, of the structure in its configuration, of its tokenizer."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from editcore.storage.canonical import load_json, sha256_of

STRUCTURE: Final = (
    "model_type", "vocab_size", "tie_word_embeddings", "is_encoder_decoder",
    "hidden_size", "n_embd", "d_model", "word_embed_proj_dim",
    "num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers",
    "num_attention_heads", "n_head", "num_heads", "num_key_value_heads", "head_dim", "d_kv", "multi_query",
    "intermediate_size", "n_inner", "d_ff", "ffn_dim", "moe_intermediate_size",
    "num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok",
    "hidden_act", "hidden_activation", "activation_function", "feed_forward_proj",
    "max_position_embeddings", "n_positions", "sliding_window", "layer_types",
    "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "do_layer_norm_before",
    "rotary_pct", "rotary_dim", "partial_rotary_factor", "alibi",
    "use_parallel_residual", "parallel_attn", "new_decoder_architecture", "attention_bias", "mlp_bias",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "query_pre_attn_scalar", "logit_scale",
    "attn_logit_softcapping", "final_logit_softcapping",
)  # fmt: skip
"""Fields of config.json that decide shapes or what the weights compute. Everything else changes on every save:
versions, dtype, paths, class names, dropout, token ids of generation, output switches."""


def file_sha256(path: Path) -> str:
    """The hash of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_root(tensors: Iterable[tuple[str, str, tuple[int, ...], str]]) -> str:
    """One hash over (key, dtype, shape, sha256) of every tensor, sorted by key: shards and headers do not enter."""
    return sha256_of(sorted([key, dtype, list(shape), sha] for key, dtype, shape, sha in tensors))


def config_sha256(config: Mapping[str, Any]) -> str:
    """The hash of the structural fields (`STRUCTURE`, rotary settings, nested text and decoder configurations)."""
    return sha256_of(_structure(config))


def tokenizer_sha256(folder: Path) -> str | None:
    """The hash of vocabulary, merges, normaliser, pre-tokeniser and added tokens; None when there is no tokenizer.

    Never of tokenizer.json as bytes: that file changes on every save. A folder with only vocab.json and merges.txt,
    or only a SentencePiece or WordPiece file, is hashed by that and so does not match its converted twin.
    """
    if (path := folder / "tokenizer.json").is_file():
        return sha256_of(_fast_tokenizer(load_json(path.read_bytes(), str(path))))
    if (path := folder / "vocab.json").is_file():
        merges = folder / "merges.txt"
        lines = merges.read_text(encoding="utf-8").splitlines() if merges.is_file() else []
        rules = [line.split(" ", 1) for line in lines if line and not line.startswith("#version")]
        return sha256_of({"vocab": load_json(path.read_bytes(), str(path)), "merges": rules})
    for name in ("tokenizer.model", "spiece.model", "vocab.txt"):
        if (path := folder / name).is_file():
            return sha256_of({"file": file_sha256(path)})
    return None


def _structure(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: config[name] for name in STRUCTURE if config.get(name) is not None}
    kept |= {
        name: _structure(nested)
        for name, nested in config.items()
        if name in ("text_config", "decoder", "encoder") and isinstance(nested, Mapping)
    }
    # transformers 5 writes rope_parameters where 4 wrote rope_theta and rope_scaling.
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    if "type" in rope:
        rope.setdefault("rope_type", rope.pop("type"))
    if "rope_theta" in config:
        rope.setdefault("rope_theta", config["rope_theta"])
    rope = {name: value for name, value in rope.items() if value is not None and (name, value) != _DEFAULT_ROPE}
    return {**kept, "rope": rope} if rope else kept


_DEFAULT_ROPE: Final = ("rope_type", "default")


def _fast_tokenizer(document: Any) -> dict[str, Any]:
    document = document if isinstance(document, dict) else {}
    model = document.get("model")
    model = model if isinstance(model, dict) else {}
    # Releases write a merge as "a b" or as ["a", "b"].
    merges = [rule.split(" ", 1) if isinstance(rule, str) else rule for rule in model.get("merges") or []]
    added = [
        {name: token.get(name) for name in ("id", "content", "special")}
        for token in document.get("added_tokens") or []
        if isinstance(token, dict)
    ]
    return {
        "type": model.get("type"),
        "vocab": model.get("vocab"),
        "merges": merges,
        "normalizer": document.get("normalizer"),
        "pre_tokenizer": document.get("pre_tokenizer"),
        "added_tokens": added,
    }
