"""Recomputing every hash: of a patch file, and of a patched folder, whose results are also computed again."""

import hashlib
from pathlib import Path

from attrs import frozen

from editcore.patches import lock
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.fingerprint import span_sha256
from editcore.patches.patch import Patch
from editcore.patches.stack import patch_path
from editcore_hooks import EditcoreError, RefusedFileError


@frozen
class Problem:
    """One thing that is not as it should be: in which file, at which tensor ("" for the whole file)."""

    file: str
    tensor: str
    message: str


@frozen
class Verification:
    """What was compared, what differs, and what is worth saying though nothing is wrong."""

    subject: str
    checked: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()

    def ensure(self) -> None:
        """Raise `RefusedFileError` with the first problem and the number of the others."""
        if self.problems:
            first, more = self.problems[0], len(self.problems) - 1
            rest = f" (and {more} more)" if more else ""
            raise RefusedFileError(
                f"{first.message}{rest}", hint="copy the base again and apply the patches in .editcore/patches"
            )


def verify(path: Path | str) -> Verification:
    """Verify a patch file or a checkpoint folder."""
    return verify_folder(path) if Path(path).is_dir() else verify_patch(path)


def verify_patch(path: Path | str) -> Verification:
    """Check ids, the hash of every tensor, forms and values."""
    try:
        patch = Patch.load(path)
    except RefusedFileError as error:
        return Verification(str(path), problems=(Problem(Path(path).name, "", error.message),))
    return Verification(str(path), tuple(sorted(patch.tensors)), (), patch.notices)


def verify_folder(path: Path | str) -> Verification:
    """Compare each touched tensor, each original and each patch with its record, and each result with the arithmetic.

    A result that has its recorded hash but comes out otherwise here was made on another machine: a notice with the
    size of the difference. Where the root of the base is recorded, all other tensors are compared too.
    """
    folder = Path(path)
    with lock.reading(folder):
        opened = Checkpoint.open(folder)
        problems = _patch_problems(opened)
        notices: list[str] = []
        for key in opened.stack.targets:
            problems += _target_problems(opened, key, notices, sound=not problems)
        root = opened.stack.base.get("weights_root")
        if isinstance(root, str) and not problems:
            opened.hashes.forget()
            if opened.weights_root() != root:
                problems.append(Problem("", "", f"{folder} holds a tensor that no patch touches and that was changed"))
        return Verification(str(folder), tuple(opened.stack.targets), tuple(problems), tuple(notices))


def _patch_problems(opened: Checkpoint) -> list[Problem]:
    problems: list[Problem] = []
    for patch_id in opened.patch_ids:
        path = patch_path(opened.folder, patch_id)
        found = verify_patch(path).problems
        problems += found
        if not found and Patch.read_header(path).patch_id != patch_id:
            problems.append(Problem(path.name, "", f"{path} holds another patch than its name says"))
    return problems


def _target_problems(opened: Checkpoint, key: str, notices: list[str], sound: bool) -> list[Problem]:
    """`sound` says that the patches can be read, so that the result can be computed again."""
    target = opened.stack.targets[key]
    path = opened.file(key)
    found = span_sha256(path, opened.entries[key])
    if found != target.result_sha256:
        message = f"{key} in {path} was changed: expected sha256 {target.result_sha256}, found {found}"
        return [Problem(path.name, key, message)]
    try:
        base = opened.read_base(key)
        if not sound:
            return []
        from editcore.patches.arithmetic import rebuild_bytes

        deltas = [
            delta
            for patch_id in sorted(target.patches)
            for delta in Patch.read_header(patch_path(opened.folder, patch_id)).deltas(target.patches[patch_id])
        ]
        again = rebuild_bytes(base, target.dtype, target.shape, deltas, key)
    except EditcoreError as error:
        return [Problem(".editcore", key, error.message)]
    if hashlib.sha256(again).hexdigest() != found:
        notices.append(_difference(opened, key, again))
    return []


def _difference(opened: Checkpoint, key: str, again: bytes) -> str:
    from editcore.patches.tensors import tensor_of

    target = opened.stack.targets[key]
    here = tensor_of(target.dtype, target.shape, again).double()
    there = tensor_of(target.dtype, target.shape, opened.read(key)).double()
    differing, largest = int((here != there).sum()), float((here - there).abs().max())
    return (
        f"{key} is as recorded, but this machine computes {differing} of {here.numel()} elements otherwise, "
        f"by {largest:.3g} at most"
    )
