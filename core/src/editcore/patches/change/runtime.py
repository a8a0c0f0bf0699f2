"""Patches beside the weights of a folder: put on and taken off in one step, the weights are not touched."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from editcore.patches.change.ondisk import refuse_foreign
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import refuse_repairable
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.checkpoint.runtime import (
    LIST,
    RUNTIME,
    runtime_headers,
    runtime_ids,
    runtime_path,
    runtime_record,
)
from editcore.patches.checkpoint.stack import read_stack_file, refuse_links, refuse_short
from editcore.patches.file.kinds import owner_of
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.file.places import require_places
from editcore.plugins.registry import Registry, registry
from editcore.storage import durable, lock
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import ConflictError, UsageError

_README: Final = """# Patches beside the weights

The patches in this folder are not in the weights of the model. `from_pretrained` of transformers loads the model
without them: it answers unedited. Load it with them by

    import editcore
    model, tokenizer = editcore.load("FOLDER")

or use `editcore chat FOLDER`, `editcore serve FOLDER` and `editcore generate FOLDER`. `editcore stack FOLDER` lists
them, and `editcore revert ID --model FOLDER` takes one off.
"""


def require_runtime(checkpoint: Checkpoint, added: Sequence[Patch]) -> None:
    """Check patches to put on. Raises `ConflictError` for weights, for one that is there and for a missing one that it
    requires, `WrongBaseError` for one of another base."""
    present = {*checkpoint.patch_ids, *runtime_ids(checkpoint.folder)}
    for patch in added:
        if patch.kind == "weights":
            raise ConflictError(f"patch {short(patch.patch_id)} changes weights", hint="apply it without --runtime")
        if patch.patch_id in present:
            raise ConflictError(
                f"patch {short(patch.patch_id)} is applied already",
                hint=f"see `editcore stack {quoted(checkpoint.folder)}`",
            )
        if missing := sorted(set(patch.requires) - present):
            raise ConflictError(f"patch {short(patch.patch_id)} requires {short(missing[0])}", hint="apply that first")
        owner = owner_of(patch.core, patch.about)
        if owner is None or not owner.any_base:
            require_base(patch, checkpoint)
        present.add(patch.patch_id)


def require_fit(checkpoint: Checkpoint, patches: Sequence[Patch], plugins: Registry | None = None) -> None:
    """Raise `WrongBaseError` for a patch that reads or acts where the model of the folder has no such place.

    A model whose structure the folder alone does not tell is checked when the patches are attached.
    """
    from editcore.models.anatomy.model_map import Anatomy
    from editcore.models.anatomy.skeleton import skeleton

    found = plugins or registry()
    owned = [(patch, owner) for patch in patches if (owner := owner_of(patch.core, patch.about, found)) is not None]
    if not owned:
        return
    try:
        anatomy = Anatomy.of(skeleton(checkpoint.folder), tuple(found.architectures.classes().values()))
    except UsageError:
        return
    for patch, owner in owned:
        require_places(patch, owner, anatomy)


def change_runtime(folder: Path, added: Sequence[Patch] = (), removed: Collection[str] = ()) -> tuple[str, ...]:
    """Put patches on and take ids off, in one step; return the ids that are there then.

    The list is written last and in one rename, so a kill leaves the old patches or the new ones. Raises as
    `require_runtime`, and what opening and locking the folder raise.
    """
    with lock.writing(folder):
        refuse_links(folder)
        refuse_repairable(folder)
        checkpoint = Checkpoint.open(folder)
        refuse_foreign(checkpoint)
        before = runtime_ids(folder)
        _refuse_required(checkpoint, removed)
        require_runtime(checkpoint, added)
        ids = (*(i for i in before if i not in removed), *(patch.patch_id for patch in added))
        access = durable.Access.of(folder)
        durable.make_folder(folder / RUNTIME, access)
        plain = durable.Access.of(folder / "config.json")
        for patch in added:
            durable.write_atomically(runtime_path(folder, patch.patch_id), patch.chunks(), plain)
        durable.write_atomically(folder / RUNTIME / "README.md", [_README.encode()], plain)
        record = json.dumps(runtime_record(ids), indent=2).encode() + b"\n"
        durable.write_atomically(folder / RUNTIME / LIST, [record], plain)
        for patch_id in removed:
            durable.remove(runtime_path(folder, patch_id))
        if not ids:
            for name in (LIST, "README.md"):
                durable.remove(folder / RUNTIME / name)
            durable.remove_if_empty(folder / RUNTIME)
        return ids


def find_runtime(folder: Path, prefix: str) -> str | None:
    """The one id that begins with `prefix` (six characters at least), None where there is none. Raises `UsageError`."""
    ids = runtime_ids(folder)
    refuse_short(prefix, (*ids, *read_stack_file(folder).patch_ids))
    found = [i for i in ids if i.startswith(prefix)]
    if len(found) > 1:
        raise UsageError(f"patch {prefix} is ambiguous", hint=f"see `editcore stack {quoted(folder)}` for the ids")
    return found[0] if found else None


def contradictions(patches: Sequence[Patch | PatchHeader]) -> list[tuple[str, str, str]]:
    """Prompts that two patches answer differently, by their annotation: the prompt, the earlier and the later id."""
    found, seen = [], dict[str, tuple[str, str]]()
    for patch in patches:
        for request in patch.objects("requests"):
            prompt = str(request.get("prompt", "")).replace("{}", str(request.get("subject", "")))
            target = str(request.get("target_new", "")).strip()
            before = seen.get(prompt)
            if before is not None and before[1] != target and before[0] != patch.patch_id:
                found.append((prompt, before[0], patch.patch_id))
            seen[prompt] = (patch.patch_id, target)
    return found


def _refuse_required(checkpoint: Checkpoint, removed: Collection[str]) -> None:
    for header in runtime_headers(checkpoint):
        if header.patch_id not in removed and set(header.requires) & set(removed):
            raise ConflictError(
                f"patch {short(header.patch_id)} requires a patch that would be reverted", hint="revert both"
            )
