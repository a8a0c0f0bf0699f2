"""Recomputing every hash: of a patch file, and of a patched folder, whose results are also computed again."""

import hashlib
from pathlib import Path

from attrs import evolve, field, frozen

from editcore.patches.change.plan import plan_change
from editcore.patches.change.runtime import require_fit, require_runtime
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.runtime import runtime_ids, runtime_path
from editcore.patches.checkpoint.stack import STACK_FILE, patch_path
from editcore.patches.checkpoint.stored import record_fault, stored_patch
from editcore.patches.checkpoint.unpatched_tensors import Problem, Untouched, compare_with, compare_with_records
from editcore.patches.exchange.stack_export import read_export
from editcore.patches.file.patch import Patch
from editcore.storage import lock
from editcore.storage.safetensors_reader import span_sha256
from editcore.text.shell import quoted
from editcore_hooks import EditcoreError, RefusedFileError


@frozen
class Verification:
    """The comparison, its differences, and notices that are not faults.

    `checked` are touched tensors, or the tensors of a patch; `untouched` says what was compared beyond them.
    """

    subject: str
    checked: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    untouched: Untouched = field(factory=Untouched)

    def ensure(self) -> None:
        """Raise `RefusedFileError` with the first problem and the number of the others."""
        if self.problems:
            first, more = self.problems[0], len(self.problems) - 1
            rest = f" (and {more} more)" if more else ""
            raise RefusedFileError(f"{first.message}{rest}", hint=first.hint)


def verify(path: Path | str, base: Path | str | None = None) -> Verification:
    """Verify a patch file, an exported stack, or a checkpoint folder; patch and folder against `base` if given."""
    if Path(path).is_dir():
        return verify_folder(path, base)
    return verify_export(path) if Path(path).suffix == ".json" else verify_patch(path, base)


def verify_export(path: Path | str) -> Verification:
    """Check the file and every patch that it names as `verify_patch` does; the base is compared by `apply --stack`."""
    try:
        patches = read_export(path).load()
    except RefusedFileError as error:
        return Verification(str(path), problems=(Problem(Path(path).name, "", error.message),))
    checked = tuple(sorted(name for patch in patches for name in patch.tensors))
    return Verification(str(path), checked, (), tuple(notice for patch in patches for notice in patch.notices))


def verify_patch(path: Path | str, base: Path | str | None = None) -> Verification:
    """Check ids, the hash of every tensor, forms and values; with `base` also whether the patch can be applied to it.

    Raises what `plan_change` and `require_runtime` raise for a base that the patch was not made for.
    """
    try:
        patch = Patch.load(path)
        if base is not None:
            from editcore.patches.change.rehearsal import rehearse

            checkpoint = Checkpoint.open(base)
            if patch.kind == "weights":
                rehearse(plan_change(checkpoint, [patch]))
            else:
                require_runtime(checkpoint, [patch])
                require_fit(checkpoint, [patch])
    except RefusedFileError as error:
        return Verification(str(path), problems=(Problem(Path(path).name, "", error.message, error.hint or ""),))
    notices = patch.notices if base is not None else (*patch.notices, *_unknown_results(patch, path))
    return Verification(str(path), tuple(sorted(patch.tensors)), (), notices)


def _unknown_results(patch: Patch, path: Path | str) -> tuple[str, ...]:
    """Values that depend on every bit of the base, as some forms give; they can be NaN on no other base."""
    keys = sorted(key for key, target in patch.targets.items() if target.form.needs_base)
    if not keys:
        return ()
    return (
        f"whether {', '.join(keys)} {'is' if len(keys) == 1 else 'are'} finite afterwards depends on the base: "
        f"run `editcore verify {quoted(path)} --base BASE`",
    )


def verify_folder(path: Path | str, base: Path | str | None = None) -> Verification:
    """Compare each touched tensor, each original and each patch with its record, and each result with the arithmetic.

    A result that has its recorded hash and comes out otherwise here was made on another machine where every element is
    within rounding: a notice with the size of the difference. Beyond that it is a problem. All other tensors are
    compared with those of the folder `base`, or else as far as records go: see
    `editcore.patches.checkpoint.unpatched_tensors`.
    """
    folder = Path(path)
    with lock.reading(folder):
        opened = Checkpoint.open(folder)
        problems = _patch_problems(opened)
        notices: list[str] = []
        for key in opened.stack.targets:
            problems += _target_problems(opened, key, notices, sound=not problems)
        beside, found = _runtime_problems(opened)
        problems += found
        others = _others(opened, base, sound=not problems)
        problems += others.problems
        checked = (*opened.stack.targets, *beside)
        return Verification(str(folder), checked, tuple(problems), tuple(notices), others)


def _others(opened: Checkpoint, base: Path | str | None, sound: bool) -> Untouched:
    opened.hashes.forget()
    if base is not None:
        with lock.reading(Path(base)):
            return compare_with(Checkpoint.open(base), opened)
    # The root needs the originals, and the patches are asked for theirs.
    return compare_with_records(opened, [stored_patch(opened, i) for i in opened.patch_ids] if sound else [])


def _patch_problems(opened: Checkpoint) -> list[Problem]:
    problems: list[Problem] = []
    for patch_id in opened.patch_ids:
        path = patch_path(opened.folder, patch_id)
        found = _verify_named(path, patch_id).problems
        problems += found
        if not found and (fault := record_fault(opened.stack, Patch.read_header(path))):
            problems.append(Problem(STACK_FILE, "", f"{opened.folder / STACK_FILE} {fault}"))
    return problems


def _verify_named(path: Path, patch_id: str) -> Verification:
    """As `verify_patch`, of a file that its folder names by the id of its patch."""
    found = verify_patch(path)
    if found.problems or Patch.read_header(path).patch_id == patch_id:
        return found
    return evolve(found, problems=(Problem(path.name, "", f"{path} holds another patch than its name says"),))


def _runtime_problems(opened: Checkpoint) -> tuple[tuple[str, ...], list[Problem]]:
    """The tensors of the patches beside the weights, and what is wrong with these patches."""
    checked: list[str] = []
    problems: list[Problem] = []
    for patch_id in runtime_ids(opened.folder):
        path = runtime_path(opened.folder, patch_id)
        found = _verify_named(path, patch_id)
        checked += (f"{path.name}/{name}" for name in found.checked)
        problems += found.problems
    return tuple(checked), problems


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
        from editcore.patches.arithmetic.rebuilding import rebuild_bytes

        deltas = [
            delta
            for patch_id in sorted(target.patches)
            for delta in Patch.read_header(patch_path(opened.folder, patch_id)).deltas(target.patches[patch_id])
        ]
        again = rebuild_bytes(base, target.dtype, target.shape, deltas, key)
    except EditcoreError as error:
        return [Problem(".editcore", key, error.message)]
    if hashlib.sha256(again).hexdigest() == found:
        return []
    from editcore.patches.arithmetic.rounding import deviation
    from editcore.storage.tensors import view_of

    here, there = (view_of(target.dtype, target.shape, data) for data in (again, opened.read(key)))
    off = deviation(here, there, deltas)
    if off.beyond:
        message = (
            f"{key} in {path} has the recorded hash but is not what its original and patches give: "
            f"{off.beyond} of {off.total} elements differ by more than rounding, by {off.largest:.3g} at most"
        )
        return [Problem(path.name, key, message)]
    notices.append(
        f"{key} is as recorded, but this machine computes {off.differing} of {off.total} elements differently, "
        f"by {off.largest:.3g} at most, which is within rounding"
    )
    return []
