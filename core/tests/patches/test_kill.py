"""A kill at any moment leaves the old state or the new one, and `repair` clears what is left over."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from editcore.patches import Checkpoint, Patch, apply_on_disk, current_stack, durable, lock, repair, revert_on_disk
from editcore.patches.journal import Journal, journal_path, write_journal
from editcore.patches.stack import Stack
from editcore_hooks import ConflictError, RefusedFileError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]

KEYS = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]
SEAM = ("write_new", "replace", "sync_folder", "make_folder", "remove")


class Killed(BaseException):
    """The end of the process: after it nothing reaches the disk any more."""


class Power:
    """Counts every call of the seam and cuts the power before, or half-way through, the nth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = float("inf")
        self.torn = False
        self.calls = 0
        for name in SEAM:
            monkeypatch.setattr(durable, name, self._wrapped(name, getattr(durable, name)))

    def _wrapped(self, name: str, original: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object) -> None:
            self.calls += 1
            self.left -= 1
            if self.left < 0:
                if self.left == -1 and self.torn and name == "write_new":
                    Path(str(args[0])).write_bytes(b"".join(args[1])[:-1])  # type: ignore[arg-type]
                raise Killed
            original(*args)

        return call


def run_until(power: Power, n: int, torn: bool, action: Callable[[], object]) -> bool:
    """Run with the power cut at the nth call; True when it was done before."""
    power.left, power.torn = n, torn
    try:
        action()
    except Killed:
        return False
    finally:
        power.left = float("inf")
    return True


def step_apply_first(root: Path, patches: list[Patch]) -> None:
    apply_on_disk(root, [patches[0]])


def step_apply_second(root: Path, patches: list[Patch]) -> None:
    apply_on_disk(root, [patches[1]])


def step_revert_one(root: Path, patches: list[Patch]) -> None:
    revert_on_disk(root, [patches[0].patch_id])


def step_revert_all(root: Path, patches: list[Patch]) -> None:
    revert_on_disk(root, [patch.patch_id for patch in patches])


STEPS: dict[str, tuple[int, Callable[[Path, list[Patch]], None]]] = {
    "apply": (0, step_apply_first),
    "apply a second": (1, step_apply_second),
    "revert one of two": (2, step_revert_one),
    "revert all": (2, step_revert_all),
}


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize("step", STEPS)
def test_every_kill_point_leaves_the_old_state_or_the_new_one(
    folder: Folder,
    tree: Tree,
    make_patch: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: str,
    sharded: bool,
    torn: bool,
) -> None:
    present, action = STEPS[step]

    source = folder("llama", torch.bfloat16, sharded)
    patches = [make_patch(source, *KEYS, seed=1), make_patch(source, KEYS[0], seed=2)]
    if present:
        apply_on_disk(source, patches[:present])
    power = Power(monkeypatch)
    changed = Path(shutil.copytree(source, tmp_path / "changed"))
    action(changed, patches)
    old, new = stable(tree(source)), stable(tree(changed))
    seen = set()
    for n in range(1000):
        root = Path(shutil.copytree(source, tmp_path / f"killed{n}"))
        done = run_until(power, n, torn, partial(action, root, patches))
        assert loadable(tree(root), old) or loadable(tree(root), new), f"call {n}"
        before_repair = current_stack(root).patch_ids
        if journal_path(root).exists():
            with pytest.raises(RefusedFileError, match="editcore repair"):
                Checkpoint.open(root)
            with pytest.raises(RefusedFileError, match="editcore repair"):
                revert_on_disk(root, ["a" * 64])
        repair(root)
        assert stable(tree(root)) in (old, new), f"call {n}"
        assert Checkpoint.open(root).patch_ids == before_repair
        seen.add("new" if stable(tree(root)) == new else "old")
        assert repair(root).action == "nothing"
        if done:
            break
    assert done
    assert seen == {"old", "new"}


@pytest.mark.parametrize("sharded", [False, True])
def test_a_kill_during_repair_is_repaired(
    folder: Folder, tree: Tree, make_patch: Make, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    plain = folder("llama", torch.float32, sharded)
    patch = make_patch(plain, *KEYS)
    power = Power(monkeypatch)
    before = stable(tree(plain))
    patched = folder("llama", torch.float32, sharded)
    power.calls = 0
    apply_on_disk(patched, [patch])
    after = stable(tree(patched))
    for first in range(3, power.calls, 4):
        for second in range(0, 12, 2):
            root = folder("llama", torch.float32, sharded)
            run_until(power, first, False, partial(apply_on_disk, root, [patch]))
            run_until(power, second, False, partial(repair, root))
            repair(root)
            assert stable(tree(root)) in (before, after)


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


def test_repair_refuses_a_folder_in_neither_state(
    folder: Folder, make_patch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("gpt2")
    key = "transformer.h.0.mlp.c_proj.weight"
    patch = make_patch(root, key)
    checkpoint = Checkpoint.open(root)
    path, start = checkpoint.file(key), checkpoint.entries[key].start
    power = Power(monkeypatch)
    n = 0
    while not journal_path(root).exists() or b'"commit"' not in journal_path(root).read_bytes():
        if journal_path(root).exists():
            repair(root)
        run_until(power, n, False, lambda: apply_on_disk(root, [patch]))
        n += 1
    data = bytearray(path.read_bytes())
    data[start] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefusedFileError, match="neither the state before nor after"):
        repair(root)


def test_repair_takes_no_shard_away_that_the_index_names(
    folder: Folder, tree: Tree, make_patch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("llama", torch.float32, True)
    before = stable(tree(root))
    # A change that changes no byte, cut short just before the rename; then somebody tidies up the staged index.
    patch = make_patch(root, KEYS[0], form="dense", scale=0.0)
    power = Power(monkeypatch)
    n = 0
    while not journal_path(root).exists() or b'"commit"' not in journal_path(root).read_bytes():
        repair(root)
        run_until(power, n, False, partial(apply_on_disk, root, [patch]))
        n += 1
    (root / "model.safetensors.index.json.editcore.tmp").unlink()
    assert repair(root).action == "rolled back"
    assert stable(tree(root)) == before
    # A journal from elsewhere that calls the shards in use leftovers.
    (root / ".editcore").mkdir()
    shards = tuple(path.name for path in root.glob("*.safetensors"))
    write_journal(root, Journal("prepare", "staged", "model.safetensors.index.json", Stack(), new_files=shards))
    assert repair(root).action == "rolled back"
    assert stable(tree(root)) == before


def test_a_real_kill_is_repaired(folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path) -> None:
    root = folder("llama", torch.bfloat16, True)
    patch = make_patch(root, *KEYS)
    patch.save(tmp_path / "p.safetensors")
    before = stable(tree(root))
    script = (
        "import os, signal\n"
        "from editcore.patches import Patch, apply_on_disk, durable\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "durable.replace_original, seen = durable.replace, []\n"
        "def replace(source, destination):\n"
        "    if destination.name == 'model.safetensors.index.json' and '.editcore/' not in str(destination): die()\n"
        "    durable.replace_original(source, destination)\n"
        "durable.replace = replace\n"
        f"apply_on_disk({str(root)!r}, [Patch.load({str(tmp_path / 'p.safetensors')!r})])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
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
        f"import time; from pathlib import Path; from editcore.patches import lock\n"
        f"with lock.writing(Path({str(root)!r})): Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(30)\n"
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


def loadable(now: dict[str, str], state: dict[str, str]) -> bool:
    """Whether what a plain loader reads is that of `state`: the single file, or the index and every shard it names."""
    final = "model.safetensors" if "model.safetensors" in state else "model.safetensors.index.json"
    read = [name for name in state if "/" not in name and name.endswith(".safetensors")]
    return all(now.get(name) == state[name] for name in (final, *read))
