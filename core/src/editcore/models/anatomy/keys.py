"""Names that checkpoints give to one tensor: prefixes that come and go, and tensors that are tied. Needs no torch."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

PREFIXES: Final = (
    "",  # a model saved without its head
    "transformer.",  # GPT-2, GPT-J, Falcon, BLOOM
    "model.",  # Llama, Mistral, Qwen, Gemma, Phi
    "gpt_neox.",
    "backbone.",  # Mamba
    "decoder.",  # OPT saved without its head
    "model.decoder.",  # OPT
    "model.text_model.",
    "text_model.",
    "language_model.",  # a text model in a multimodal one, as the releases nest it
    "language_model.model.",
    "model.language_model.",
)
"""Prefixes with and without which the same tensor is named."""

EMBEDDINGS: Final = (
    "wte.weight", "embed_tokens.weight", "embed_in.weight", "word_embeddings.weight", "shared.weight",
    "embeddings.weight",
)  # fmt: skip
HEADS: Final = ("lm_head.weight", "embed_out.weight")
"""Last parts of the names of input embedding and output head: one tensor when the configuration ties them."""

SHARED: Final = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""The embedding that both stacks of T5 read: one tensor whatever the configuration says."""


BUFFERS: Final = ("masked_bias", "inv_freq", "position_ids", "causal_mask")
"""Last parts of names of buffers that older releases saved with the weights; a mask is a `bias` of (1, 1, n, n) too."""


def is_buffer(key: str, shape: Sequence[int]) -> bool:
    """Whether a stored tensor is no weight, but a mask or the positions that a release once saved beside them."""
    last = key.rpartition(".")[2]
    return last in BUFFERS or (last == "bias" and len(shape) == 4 and tuple(shape[:2]) == (1, 1))


def aliases(key: str) -> tuple[str, ...]:
    """Other names that `key` may have, by prefix; without `key` itself and in the order of the table."""
    stems = [key.removeprefix(prefix) for prefix in PREFIXES if key.startswith(prefix)]
    candidates = [prefix + stem for stem in stems for prefix in PREFIXES]
    return tuple(dict.fromkeys(candidate for candidate in candidates if candidate != key))


def tied_names(key: str, keys: Collection[str], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys among `keys` that are the same parameter as `key` because the configuration ties head and embedding.

    A configuration that does not say is taken to tie: the caller then compares the bytes.
    """
    shared = tuple(other for other in SHARED if key in SHARED and other != key and other in keys)
    text = config.get("text_config")
    tie = config.get("tie_word_embeddings", text.get("tie_word_embeddings") if isinstance(text, dict) else None)
    if tie is False:
        return shared
    for mine, others in ((EMBEDDINGS, HEADS), (HEADS, EMBEDDINGS)):
        if _ends(key, mine):
            return (*shared, *sorted(other for other in keys if other != key and _ends(other, others)))
    return shared


def _ends(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.endswith(f".{name}") for name in names)
