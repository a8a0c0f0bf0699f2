"""What `repair` does and refuses, and who may not read meanwhile. Every point of a kill is in tests/."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from checks import faults
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.change.repairing import repair
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import Journal, journal_path, read_journal, write_journal
from editcore.patches.checkpoint.stack import Stack
from editcore.patches.file.patch import Patch
from editcore.storage import lock
from editcore_hooks import ConflictError, RefusedFileError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]

KEYS = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]


STAGED = "model.safetensors.index.json.editcore.tmp"


def kill_at_commit(root: Path, patch: Patch) -> None:
    """End an apply just before the rename that would make the new state."""
    dry = Path(shutil.copytree(root, root.with_name("dry")))
    with faults.Disk(dry).mounted() as disk:
        apply_on_disk(dry, [patch])
    (commit,) = (n for n, (kind, name) in enumerate(disk.calls) if kind == "rename" and name.endswith(".editcore.tmp"))
    with contextlib.suppress(faults.Killed), faults.Disk(root, faults.kill(commit)).mounted():
        apply_on_disk(root, [patch])
    assert read_journal(root).phase == "commit"


def test_repair_of_a_clean_folder_changes_nothing(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("gpt2")
    before = tree(root)
    assert repair(root).action == "nothing"
    assert tree(root) == before
    apply_on_disk(root, [make_patch(root, "transformer.h.0.mlp.c_proj.weight")])
    before = tree(root)
    assert repair(root).action == "nothing"
    assert tree(root) == before


def test_repair_waits_for_no_writer(folder: Folder) -> None:
    root = folder("gpt2")
    with lock.writing(root), pytest.raises(ConflictError, match="another editcore is writing"):
        repair(root)


def test_repair_refuses_a_folder_in_neither_state(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    key = "transformer.h.0.mlp.c_proj.weight"
    patch = make_patch(root, key)
    checkpoint = Checkpoint.open(root)
    path, start = checkpoint.file(key), checkpoint.entries[key].start
    kill_at_commit(root, patch)
    data = bytearray(path.read_bytes())
    data[start] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefusedFileError, match="neither the state before nor after"):
        repair(root)


def test_repair_takes_no_shard_away_that_the_index_names(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("llama", torch.float32, True)
    before = stable(tree(root))
    # A change that changes no byte, cut short just before the rename; then somebody tidies up the staged index.
    patch = make_patch(root, KEYS[0], form="dense", scale=0.0)
    kill_at_commit(root, patch)
    (root / STAGED).unlink()
    assert repair(root).action == "rolled back"
    assert stable(tree(root)) == before
    # A journal from elsewhere that calls the shards in use leftovers.
    (root / ".editcore").mkdir()
    shards = tuple(path.name for path in root.glob("*.safetensors"))
    write_journal(root, Journal("prepare", STAGED, "model.safetensors.index.json", Stack(), new_files=shards))
    assert repair(root).action == "rolled back"
    assert stable(tree(root)) == before


def test_a_real_kill_is_repaired(folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path) -> None:
    root = folder("llama", torch.bfloat16, True)
    patch = make_patch(root, *KEYS)
    patch.save(tmp_path / "p.safetensors")
    before = stable(tree(root))
    script = (
        "import os, signal\n"
        "from editcore.patches.change.ondisk import apply_on_disk\n"
        "from editcore.patches.file.patch import Patch\n"
        "from editcore.storage import durable\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "durable.replace_original, seen = durable.replace, []\n"
        "def replace(source, destination):\n"
        "    if destination.name == 'model.safetensors.index.json' and '.editcore/' not in str(destination): die()\n"
        "    durable.replace_original(source, destination)\n"
        "durable.replace = replace\n"
        f"apply_on_disk({str(root)!r}, [Patch.load({str(tmp_path / 'p.safetensors')!r})])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    with pytest.raises(RefusedFileError, match="editcore repair"):
        Checkpoint.open(root)
    assert repair(root).action == "rolled back"
    assert stable(tree(root)) == before


def test_a_folder_being_written_by_another_process_is_said_to_be(folder: Folder, tmp_path: Path) -> None:
    root = folder("gpt2")
    (root / ".editcore").mkdir()
    journal_path(root).write_text("{}")
    script = (
        f"import time; from pathlib import Path; from editcore.storage import lock\n"
        f"with lock.writing(Path({str(root)!r})): Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(600)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not (tmp_path / "ready").exists():
            assert writer.poll() is None
            time.sleep(0.01)
        with pytest.raises(ConflictError, match="another editcore is writing"):
            Checkpoint.open(root)
    finally:
        writer.kill()
        writer.wait()
    with pytest.raises(RefusedFileError, match="editcore repair"):
        Checkpoint.open(root)


def stable(hashes: dict[str, str]) -> dict[str, str]:
    """The tree without the cache of hashes, which holds modification times."""
    return {name: value for name, value in hashes.items() if name != ".editcore/hashes.json"}
