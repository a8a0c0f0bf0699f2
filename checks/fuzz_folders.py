"""Records of model folders changed at random: the stack, a journal, a cache of older versions. Every command refuses
them with an error or does what it does; weights are those of some of the patches, and what is not ours stays."""

import contextlib
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from checks import sample_patches
from checks.attacks import LONGEST, capped
from checks.changes import State, loaded
from checks.commands import call
from checks.faults import Disk, Killed, kill
from checks.fuzz import SPACE, limited, timed
from checks.mutations import JUNK
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.shards import INDEX

FOLDERS: Final = 2_000
MET: Final = 3
"""Commands that each folder meets."""

COMMANDS: Final = (
    "stack {folder}",
    "stack {folder} --json",
    "stack export {folder} -o {out}/stack.json",
    "verify {folder}",
    "verify {folder} --base {base} --json",
    "revert {id} --model {folder}",
    "apply {other} --model {folder} --in-place --strict",
    "apply {other} --model {folder} -o {out}/copy",
    "repair {folder}",
)
RECORDS: Final = ("editcore.json", ".editcore/journal.json", ".editcore/hashes.json")
NAMES: Final = (
    "..", "", ".", "config.json", "mine.safetensors", "../base/config.json", "/etc/passwd", INDEX, "model.safetensors",
    "a\0b", "x" * 300 + ".safetensors", "1.9", "prepare", "commit", "0" * 64, 1.5, 2**53 - 1,
)  # fmt: skip
MINE: Final = ("mine.safetensors", "config.json", ".editcore/originals/notes.txt")


@frozen
class Bench:
    """Sound folders that each hold one of the records, and the weights that some of the patches give."""

    place: Path
    sources: Mapping[str, tuple[Path, ...]]
    states: tuple[State, ...]
    names: Mapping[str, str]


def run(folders: int = FOLDERS) -> list[str]:
    outcomes = count(folders)
    said = (
        f"{folders:,} folders with a record that was changed at random met {MET} commands each: no exception, the "
        "weights were those of some of the patches, nothing outside editcore's files was written or removed, and where "
        "`repair` refused a journal, its hint solved the problem."
    )
    return [said, "", "| outcome | times |", "|---|---|", *(f"| {k} | {n:,} |" for k, n in sorted(outcomes.items()))]


def count(folders: int) -> Counter[str]:
    """How the commands end."""
    rng, outcomes = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as name, limited():
        bench = _bench(Path(name))
        for line in COMMANDS:  # in order, and afterwards all that they import is there
            folder = sample_patches.copy(bench.sources[RECORDS[0]][0], bench.place / "folder")
            _run(bench, line)
            shutil.rmtree(folder)
        for number in range(folders):
            record = RECORDS[number % len(RECORDS)]
            source = rng.choice(bench.sources[record])
            folder = sample_patches.copy(source, bench.place / "folder")
            path = folder / record
            path.write_bytes(spoiled(rng, path.read_bytes()))
            before = _kept(bench)
            for line in rng.sample(COMMANDS, MET):
                outcomes[f"{record}: {line.partition(' {')[0]}: exit code {_run(bench, line)}"] += 1
                assert loaded(folder) in bench.states, f"{line} left other weights"
                assert _kept(bench) == before, f"{line} changed what is not ours"
            if record == RECORDS[1] and path.exists() and _run(bench, "repair {folder}"):
                path.unlink()
                # After the commit the record is older than the weights, and `verify` says so.
                expected = 0 if loaded(folder) == bench.states[0] else 6
                assert _run(bench, "verify {folder}") == expected, "without its journal the folder is not in order"
                outcomes["a journal that had to be removed"] += 1
            shutil.rmtree(folder)
    return outcomes


def spoiled(rng: random.Random, data: bytes) -> bytes:
    """One to three places of a JSON document changed, or some of its bytes."""
    if rng.random() < 0.2:
        at = rng.randrange(len(data))
        return rng.choice((data[:at], data[:at] + rng.randbytes(3) + data[at:], b"[" * 10**5, b"9" * 5000, b""))
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _somewhere(rng, document)
    return json.dumps(document).encode()


def _somewhere(rng: random.Random, node: Any) -> None:
    while node:
        place = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[place], dict | list) and node[place] and rng.random() < 0.7:
            node = node[place]
            continue
        if rng.random() < 0.2:
            del node[place]
        elif isinstance(node, dict) and rng.random() < 0.2:
            node[rng.choice((*map(str, NAMES), "new"))] = node.pop(place)
        else:
            node[place] = rng.choice((*JUNK, *NAMES))
        return


def _run(bench: Bench, line: str) -> int:
    """Run a command on the folder at hand; return its exit code."""
    out = bench.place / "out"
    out.mkdir()
    with timed(), capped(SPACE):
        code, said = call([word.format(**bench.names) for word in line.split()])
    assert "--debug" not in said, f"{line}: {said}"
    for shown in said.splitlines():
        assert shown.isprintable(), f"{line}: a line that a terminal could act on: {shown!r}"
        assert len(shown) < LONGEST, f"{line}: a message of {len(shown)} characters"
    shutil.rmtree(out)
    return code


def _kept(bench: Bench) -> dict[str, bytes]:
    """Files that no command may change: files of other programs in the folder, and everything beside it."""
    files = [bench.place / "folder" / name for name in MINE]
    files += [path for path in (bench.place / "base").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files if path.exists()}


def _bench(place: Path) -> Bench:
    base = sample_patches.checkpoint(place / "base", sharded=True)
    one = sample_patches.patch(base, {sample_patches.KEYS[0]: "low_rank", sample_patches.KEYS[1]: "xor"}, seed=1)
    two = sample_patches.patch(base, {sample_patches.KEYS[0]: "sparse"}, seed=2)
    other = sample_patches.patch(base, {sample_patches.KEYS[2]: "rows"}, seed=3)
    other.save(place / "other.safetensors")
    states = _States(place, base)
    sound = states.folder("sound", one, two)
    cut = []
    for number, phase in enumerate(("prepare", "commit", "done")):
        folder = sample_patches.copy(sound, place / f"cut {number}")
        _cut(folder, place, phase, lambda root: apply_on_disk(root, [other]))
        cut.append(folder)
    for sets in ((), (one,), (two,), (other,), (one, other), (two, other), (one, two, other)):
        states.folder(f"with {len(states.found)}", *sets)
    stamps = {
        path.name: {"stamp": "1:2", "tensors": {sample_patches.KEYS[0]: "0" * 64}}
        for path in sound.glob("*.safetensors")
    }
    old = sample_patches.copy(sound, place / "old")
    (old / RECORDS[2]).write_text(json.dumps(stamps))
    for folder in (sound, old, *cut):
        (folder / MINE[0]).write_bytes(b"mine")
        (folder / MINE[2]).write_bytes(b"mine")
    names = {"folder": "folder", "base": "base", "out": "out", "other": "other.safetensors"}
    paths = {name: str(place / file) for name, file in names.items()}
    sources = dict(zip(RECORDS, ((sound,), tuple(cut), (old,)), strict=True))
    return Bench(place, sources, tuple(states.found), {**paths, "id": one.patch_id[:12]})


@define
class _States:
    """The weights of the base with each set of patches that a command may leave."""

    place: Path
    base: Path
    found: list[State] = field(factory=list)

    def folder(self, name: str, *patches: Any) -> Path:
        folder = sample_patches.copy(self.base, self.place / name)
        if patches:
            apply_on_disk(folder, patches)
        self.found.append(loaded(folder))
        return folder


def _cut(folder: Path, place: Path, phase: str, act: Any) -> None:
    """End a change after the journal is written, just before the commit, or just after it."""
    dry = sample_patches.copy(folder, place / "dry")
    with Disk(dry).mounted() as disk:
        act(dry)
    shutil.rmtree(dry)
    commit = disk.calls.index(("rename", f"{INDEX}.editcore.tmp"))
    journal = next(n for n, (kind, name) in enumerate(disk.calls) if kind == "rename" and "journal" in name)
    number = {"prepare": journal + 2, "commit": commit, "done": commit + 1}[phase]
    with contextlib.suppress(Killed), Disk(folder, kill(number)).mounted():
        act(folder)
    assert (folder / RECORDS[1]).exists()
