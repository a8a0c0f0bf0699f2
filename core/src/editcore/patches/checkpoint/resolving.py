"""Find the tensor of a target in a checkpoint, and check that the checkpoint is the base of a patch."""

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from editcore.models.anatomy.keys import aliases, tied_names
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.file.target import CoreTarget
from editcore.patches.forms.form import FLOATS
from editcore.text.ids import short
from editcore_hooks import ConflictError, RefusedFileError, WrongBaseError


@frozen
class Verdict:
    """`exact`: the whole base agrees; `targets_match`: what the patch touches does; `wrong`: see `problem`.

    `keys` maps the patch's name of each target to the checkpoint's.
    """

    kind: Literal["exact", "targets_match", "wrong"]
    keys: Mapping[str, str] = field(factory=dict)
    notices: tuple[str, ...] = ()
    problem: WrongBaseError | None = field(default=None, eq=False)


def resolve(key: str, target: CoreTarget, checkpoint: Checkpoint, others: Iterable[str] = ()) -> str:
    """The checkpoint's key of a target: by name, by alias (`others` first), then by shape, dtype and content.

    Raises `WrongBaseError` when nothing fits and `ConflictError` when more than one tensor does.
    """
    entries = checkpoint.entries
    if key in entries:
        return key
    named = [name for name in dict.fromkeys((*others, *aliases(key))) if name in entries]
    if not named:
        # A tied head is stored once, under the name of the embedding.
        named = list(tied_names(key, entries, checkpoint.config))
    fitting = [name for name in named or entries if _fits(name, target, checkpoint)]
    if named and len(fitting) <= 1:
        # The one that fits, or else the one that does not: the verdict then says how the two differ.
        return (fitting or named)[0]
    matching = [name for name in fitting if checkpoint.base_sha256(name) == target.base_sha256]
    if len(matching) > 1:
        raise ConflictError(
            f"target {key} could be {' or '.join(sorted(matching))} in {checkpoint.folder}: they are equal",
            hint="set `aliases` in the patch to the one that is meant",
        )
    if not matching:
        raise WrongBaseError(
            f"it has no tensor {key} {target.base_dtype} {target.shape} with sha256 {short(target.base_sha256)}"
        )
    return matching[0]


def judge(patch: Patch | PatchHeader, checkpoint: Checkpoint, whole: bool = False) -> Verdict:
    """Compare every target with the base of `checkpoint`; `whole` hashes all its tensors, to tell `exact`.

    Raises `ConflictError` for a target that is ambiguous, or tied to a second stored copy.
    """
    keys: dict[str, str] = {}
    notices: list[str] = []
    known = patch.annotation("aliases")
    try:
        for key, target in patch.targets.items():
            names = known.get(key)
            others = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
            keys[key] = found = resolve(key, target, checkpoint, others)
            _compare(key, found, target, patch, checkpoint)
            if found != key:
                notices.append(f"{key} is called {found} in {checkpoint.folder}")
            notices.extend(_tied(found, checkpoint))
    except WrongBaseError as error:
        return Verdict("wrong", keys, tuple(notices), _wrong(patch, checkpoint, error.message))
    if len(set(keys.values())) < len(keys):
        raise ConflictError(f"two targets of patch {short(patch.patch_id)} are one tensor in {checkpoint.folder}")
    base = patch.annotation("base")
    for name, what in (("config_sha256", "structure"), ("tokenizer_sha256", "tokenizer")):
        if isinstance(base.get(name), str) and base[name] != getattr(checkpoint, name):
            notices.append(
                f"the {what} of {checkpoint.folder} is not that of the base of patch {short(patch.patch_id)}"
            )
    # Without targets nothing was compared yet, so the whole base is.
    if not whole and keys:
        return Verdict("targets_match", keys, tuple(notices))
    found_root = checkpoint.weights_root()
    if found_root == base.get("weights_root"):
        return Verdict("exact", keys, tuple(notices))
    roots = f"expected weights root {short(str(base.get('weights_root')))}, found {short(found_root)}"
    problem = _wrong(patch, checkpoint, roots)
    return Verdict("targets_match" if keys else "wrong", keys, tuple(notices), problem)


def require_base(patch: Patch | PatchHeader, checkpoint: Checkpoint, strict: bool = False) -> Verdict:
    """`judge`, and raise `WrongBaseError` when the base is wrong, or with `strict` when it is not exact."""
    verdict = judge(patch, checkpoint, whole=strict)
    if verdict.problem is not None and (strict or verdict.kind == "wrong"):
        raise verdict.problem
    return verdict


def _fits(name: str, target: CoreTarget, checkpoint: Checkpoint) -> bool:
    entry = checkpoint.entries[name]
    return (entry.dtype, entry.shape) == (target.base_dtype, target.shape)


def _compare(key: str, found: str, target: CoreTarget, patch: Patch | PatchHeader, checkpoint: Checkpoint) -> None:
    entry = checkpoint.entries[found]
    if entry.dtype not in FLOATS:
        raise RefusedFileError(
            f"{found} of {checkpoint.folder} is stored as {entry.dtype}: a quantised tensor takes no exact patch",
            hint="patch the unquantised base, or `editcore export PATCH --to peft` and load that beside it",
        )
    expected = f"{target.base_dtype} {target.shape}"
    actual = f"{entry.dtype} {entry.shape}"
    if expected == actual:
        expected, actual = target.base_sha256, checkpoint.base_sha256(found)
        if expected != actual:
            raise WrongBaseError(f"{found}: expected sha256 {short(expected)}, found {short(actual)}")
    if expected != actual:
        raise WrongBaseError(f"{found}: expected {expected}, found {actual}")


def _tied(key: str, checkpoint: Checkpoint) -> list[str]:
    """The notice about a tied tensor. Raises `ConflictError` for a second stored copy, which would stay unedited."""
    text = checkpoint.config.get("text_config")
    said = checkpoint.config.get("tie_word_embeddings") or (isinstance(text, dict) and text.get("tie_word_embeddings"))
    for other in tied_names(key, checkpoint.entries, checkpoint.config):
        if _same_base(key, other, checkpoint):
            raise ConflictError(
                f"{other} is a stored copy of {key} in {checkpoint.folder}, and the configuration ties them",
                hint="load and save_pretrained the base, which stores a tied tensor once",
            )
    if said and tied_names(key, ("lm_head.weight", "embed_tokens.weight"), checkpoint.config):
        return [f"{key} is input embedding and output head at once in {checkpoint.folder}: the patch changes both"]
    return []


def _same_base(key: str, other: str, checkpoint: Checkpoint) -> bool:
    mine, its = checkpoint.entries[key], checkpoint.entries[other]
    same_kind = (mine.dtype, mine.shape) == (its.dtype, its.shape)
    return same_kind and checkpoint.base_sha256(key) == checkpoint.base_sha256(other)


def _wrong(patch: Patch | PatchHeader, checkpoint: Checkpoint, detail: str) -> WrongBaseError:
    """The same words whatever differs: what the patch was made for, and then how the folder is another."""
    name = patch.annotation("base").get("name")
    made_for = "another model" if not isinstance(name, str) else name
    if name == checkpoint.folder.name:
        made_for = f"another {name}"
    return WrongBaseError(
        f"patch {short(patch.patch_id)} was made for {made_for}, not for {checkpoint.folder}: {detail}",
        hint=_use_base(patch),
    )


def _use_base(patch: Patch | PatchHeader) -> str:
    base = patch.annotation("base")
    name, revision = base.get("name"), base.get("revision")
    if not isinstance(name, str):
        return "use the base that the patch was made for"
    return f"use the base {name}" + (f" at revision {revision}" if isinstance(revision, str) else "")
