"""Two checkpoints of one model that different tools saved: which tensor of one is which of the other.

Names differ by prefix, older saves hold the buffers of masks, and a tied head is stored once or twice.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from editcore.models.anatomy.keys import HEADS, aliases, is_buffer, tied_names
from editcore.patches.checkpoint.folder import Checkpoint
from editcore_hooks import RefusedFileError, WrongBaseError

ONE_MODEL: Final = "give two checkpoints of one model, saved in one dtype"


@frozen
class Pairs:
    """`keys` maps a weight of the base to its name in the other checkpoint; `notices` say what names differ and what
    was left out."""

    keys: Mapping[str, str]
    notices: tuple[str, ...] = ()


def pair(base: Checkpoint, edited: Checkpoint) -> Pairs:
    """The weights of `base` in `edited`. Raises `WrongBaseError` when one lacks a weight of the other, or has it in
    another dtype or shape, and `RefusedFileError` when copies of a tied tensor differ in one checkpoint."""
    buffers = sum(is_buffer(key, entry.shape) for one in (base, edited) for key, entry in one.entries.items())
    mine, its = _weights(base), _weights(edited)
    keys = {key: found for key in mine if (found := _counterpart(key, its)) is not None}
    lost = [key for key in mine if key not in keys]
    extra = [key for key in its if key not in set(keys.values())]
    if lost:
        raise WrongBaseError(f"{edited.folder} lacks {some(lost)} of {base.folder}", hint=ONE_MODEL)
    if extra:
        raise WrongBaseError(f"{base.folder} lacks {some(extra)} of {edited.folder}", hint=ONE_MODEL)
    for key, there in keys.items():
        one, other = base.entries[key], edited.entries[there]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            raise WrongBaseError(
                f"{key} is {one.dtype} {one.shape} in {base.folder} and {other.dtype} {other.shape} in {edited.folder}",
                hint=ONE_MODEL,
            )
    renamed = [f"{there} for {key}" for key, there in keys.items() if key != there]
    notices = [f"{edited.folder} has other names: {some(renamed)}"] if renamed else []
    if buffers:
        notices.append(f"{buffers} buffers of masks and positions are not weights and were left out")
    return Pairs(keys, tuple(notices))


def _weights(checkpoint: Checkpoint) -> list[str]:
    """The keys without buffers, and without second copies of a tied tensor, which are compared with the first.

    Where the configuration does not say that two tensors are tied, they are when they are equal.
    """
    kept: list[str] = []
    text = checkpoint.config.get("text_config")
    nested = isinstance(text, dict) and text.get("tie_word_embeddings")
    said = checkpoint.config.get("tie_word_embeddings") or nested
    for key in sorted(checkpoint.entries, key=lambda key: (_is_copy(key), key)):
        if is_buffer(key, checkpoint.entries[key].shape):
            continue
        first = next((other for other in tied_names(key, kept, checkpoint.config)), None)
        if first is None or not _is_copy(key):
            kept.append(key)
        elif checkpoint.sha256(first) != checkpoint.sha256(key):
            if said or not key.endswith(HEADS):
                raise RefusedFileError(
                    f"{key} differs from {first} in {checkpoint.folder}, and the configuration ties them",
                    hint="set tie_word_embeddings to false in its config.json, or save the model again",
                )
            kept.append(key)
    return sorted(kept)


def _is_copy(key: str) -> bool:
    """Whether the name is one that a tied tensor has beside its first: a head, or the embedding of one stack of T5."""
    return key.endswith((*HEADS, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"))


def _counterpart(key: str, others: Sequence[str]) -> str | None:
    if key in others:
        return key
    heads = HEADS if key in HEADS else ()
    found = [name for name in (*aliases(key), *heads) if name in others]
    return found[0] if len(found) == 1 else None


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
