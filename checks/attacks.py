"""Files that are meant to harm, through the command line: each refused with its exit code, an error and a hint; nothing
on disk changed, little time and memory taken."""

import contextlib
import json
import resource
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen

from checks import sample_patches
from checks.commands import call, error_lines, tree
from checks.forging import SHA, Forgery, Json, forgery
from editcore.patches.checkpoint.journal import Journal, write_journal
from editcore.patches.checkpoint.shards import INDEX, SINGLE
from editcore.patches.checkpoint.stack import FOLDER, Stack
from editcore.patches.file.patch import Patch

KEY: Final = sample_patches.KEYS[0]
FACTOR: Final = 40
"""Python's memory for a command may be this many times the size of the file that it reads, and `BESIDE` more."""
BESIDE: Final = 3 * 2**20
SECONDS: Final = 5.0
SPACE: Final = 2**29
"""Address space that a command may take beside what the process has: a tensor of a size that was only claimed does not
fit in."""
LONGEST: Final = 2000
"""Characters of a message, whatever the file says."""

Build = Callable[["Bench"], list[str]]
"""Writes the files of an attack and returns the command line that meets them."""


@frozen
class Attack:
    code: int
    says: str
    build: Build


@frozen
class Bench:
    """A model to attack, and a patch in order for it, to begin with."""

    place: Path
    model: Path
    patch: Patch

    @property
    def file(self) -> Path:
        return self.place / "attack.safetensors"

    def apply(self) -> list[str]:
        return ["apply", str(self.file), "--model", str(self.model), "--in-place"]

    def raw(self, content: bytes) -> list[str]:
        self.file.write_bytes(content)
        return self.apply()


def bench(place: Path) -> Bench:
    model = sample_patches.checkpoint(place / "model")
    return Bench(place, model, sample_patches.patch(model, {KEY: "low_rank"}))


def forged(change: Callable[[Forgery], object], **save: Any) -> Build:
    """The patch after `change`, with ids and hashes that fit."""

    def build(bench: Bench) -> list[str]:
        made = forgery(bench.patch)
        change(made)
        made.save(bench.file, **save)
        return bench.apply()

    return build


def remembered(number: int, change: Callable[[Forgery], object]) -> Build:
    """One of the memories after `change`, with ids and hashes that fit, and verified."""

    def build(bench: Bench) -> list[str]:
        made = forgery(sample_patches.memories(bench.model)[number])
        change(made)
        made.save(bench.file)
        return ["verify", str(bench.file)]

    return build


def raw(content: bytes) -> Build:
    return lambda bench: bench.raw(content)


def text(change: Callable[[str], str]) -> Build:
    """The patch with the text of its manifest changed."""
    return forged(lambda made: None, text=change)


def header(change: Callable[[Json], object]) -> Build:
    """The patch with the header of its file changed."""
    return forged(lambda made: None, header=change)


def target(**fields: Any) -> Build:
    return forged(lambda made: made.core["targets"][KEY].update(fields))


def part(**fields: Any) -> Build:
    return forged(lambda made: made.core["targets"][KEY]["parts"]["left"].update(fields))


def sparse(index: list[list[int]]) -> Build:
    values = torch.ones(len(index[0]))
    return forged(lambda made: made.put(KEY, "sparse", index=torch.tensor(index), values=values))


def rows(index: list[int]) -> Build:
    return forged(lambda made: made.put(KEY, "rows", index=torch.tensor(index), values=torch.ones(len(index), 48)))


def absent(made: Forgery) -> None:
    """Found neither by its name nor by what it holds."""
    made.core["targets"][KEY]["base_sha256"] = SHA
    made.rename(KEY, "model.layers.99.weight")


def wider(made: Forgery) -> None:
    """In order in itself, for a tensor with one column more."""
    made.put(KEY, "low_rank", left=torch.ones(32, 1), right=torch.ones(1, 49))
    made.core["targets"][KEY]["shape"] = [32, 49]


def factor(value: float) -> Build:
    left = torch.full((32, 1), value)
    return forged(lambda made: made.put(KEY, "low_rank", left=left, right=torch.ones(1, 48)))


def overflowing(command: str, *options: str) -> Build:
    """The patch with a scale at which no figure of it is finite, met by a command that takes figures of it."""

    def build(bench: Bench) -> list[str]:
        forged(lambda made: made.core["apply"].update(scale=1e308))(bench)
        other = bench.place / "other.safetensors"
        sample_patches.patch(bench.model, {KEY: "low_rank"}, seed=1).save(other)
        named = {"place": bench.place, "model": bench.model, "other": other}
        return [command, str(bench.file), *(option.format(**named) for option in options)]

    return build


def _huge_header(bench: Bench) -> list[str]:
    with bench.file.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(100_000_100)  # a hole, which takes no room
    return bench.apply()


def two_huge(command: str, *options: str, shape: tuple[int, int] = (2**20, 2**20)) -> Build:
    """Two patches of a few hundred bytes that claim a tensor of 2^40 elements."""

    def build(bench: Bench) -> list[str]:
        files = []
        for number in range(2):
            made = forgery(bench.patch)
            place = [[number], [0]] if shape[0] > 1 else [[0], [number]]
            made.put(KEY, "sparse", index=torch.tensor(place), values=torch.ones(1))
            made.core["targets"][KEY]["shape"] = list(shape)
            files.append(str(made.save(bench.place / f"huge {number}.safetensors")))
        return [command, *files, *(option.format(place=bench.place) for option in options)]

    return build


def _circle(bench: Bench) -> list[str]:
    """Two patches that require each other: the id of one cannot be that of its content."""
    first, second = forgery(bench.patch), forgery(bench.patch)
    first.core["requires"] = ["b" * 64]
    second.core["requires"] = [SHA]
    first.outside["patch_id"], second.outside["patch_id"] = SHA, "b" * 64
    files = [str(one.save(bench.place / f"{n}.safetensors")) for n, one in enumerate((first, second))]
    return ["apply", *files, "--model", str(bench.model), "--in-place"]


def _journal(bench: Bench) -> list[str]:
    """A journal that calls a file outside of the folder a leftover."""
    (bench.place / "precious").write_text("mine")
    (bench.model / FOLDER).mkdir()
    write_journal(bench.model, Journal("prepare", "staged", SINGLE, Stack(), new_files=("../precious",)))
    return ["repair", str(bench.model)]


def _index(bench: Bench) -> list[str]:
    """An index that names a file outside of the folder."""
    (bench.model / SINGLE).rename(bench.place / "precious.safetensors")
    index = {"metadata": {}, "weight_map": {KEY: "../precious.safetensors"}}
    (bench.model / INDEX).write_text(json.dumps(index))
    bench.patch.save(bench.file)
    return bench.apply()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def headed(header: bytes) -> bytes:
    """A safetensors file of a header alone."""
    return struct.pack("<Q", len(header)) + header


def moved(by: int) -> Build:
    """The patch whose header claims that its last tensor lies `by` bytes from its real place."""

    def change(document: Json) -> None:
        entry = document[f"{KEY}/right"]
        entry["data_offsets"] = [offset + by for offset in entry["data_offsets"]]

    return header(change)


ATTACKS: Final[dict[str, Attack]] = {
    "no safetensors file": Attack(6, "is not a safetensors file", raw(b"hello, this is no patch at all")),
    "empty file": Attack(6, "is empty", raw(b"")),
    "header longer than the file": Attack(6, "longer than the file", raw(struct.pack("<Q", 2**20) + b"{}")),
    "header longer than any": Attack(6, "is not a safetensors file", raw(struct.pack("<Q", 2**63) + b"{}")),
    "header over 100 MB": Attack(6, "over 100000000 bytes", _huge_header),
    "header not JSON": Attack(6, "not JSON", raw(headed(b'{"a": 1 '))),
    "header nested deep": Attack(6, "nested too deep", raw(headed(b'{"a":' + nested(10**5).encode() + b"}"))),
    "header of empty lists": Attack(6, "is not described", raw(headed(b'{"a":[' + b"[]," * 300_000 + b"[]]}"))),
    "metadata not JSON": Attack(6, "not JSON", text(lambda manifest: manifest[:-1])),
    "metadata nested deep": Attack(6, "nested too deep", text(lambda manifest: nested(10**5))),
    "metadata nested a little too deep": Attack(
        6, "nested too deep", text(lambda manifest: manifest.replace('"about": {', f'"about": {{"x": {nested(70)}, '))
    ),
    "metadata with NaN": Attack(6, "NaN", text(lambda manifest: manifest.replace('"scale": 1', '"scale": NaN'))),
    "metadata with a number beyond a double": Attack(
        6, "not JSON that can be trusted", text(lambda manifest: manifest.replace('"scale": 1', '"scale": 1e999'))
    ),
    "metadata with a number of a million digits": Attack(
        6, "not JSON", text(lambda manifest: manifest.replace('"scale": 1', f'"scale": {"9" * 10**6}'))
    ),
    "metadata with a key twice": Attack(6, "occurs twice", text(lambda manifest: '{"core": 1, ' + manifest[1:])),
    "metadata with half a character": Attack(
        6, "half of a character", text(lambda manifest: manifest.replace('"title": "', '"title": "\\ud800'))
    ),
    "metadata of empty lists": Attack(6, "not a patch", text(lambda manifest: f"[{'[],' * 300_000}[]]")),
    "absent tensor": Attack(3, "has no tensor model.layers.99.weight", forged(absent)),
    "wrong shape": Attack(3, "expected F32 (32, 49), found F32 (32, 48)", forged(wider)),
    "wrong dtype": Attack(3, "expected BF16", target(base_dtype="BF16")),
    "wrong base hash": Attack(3, f"expected sha256 {SHA[:12]}", target(base_sha256=SHA)),
    "overlapping parts": Attack(6, "overlaps another", moved(-4)),
    "a hole between parts": Attack(6, "leaves a hole", moved(4)),
    "a tensor the manifest does not name": Attack(
        6,
        "not in both",
        header(lambda d: d.update(hidden={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
    ),
    "part of another size than its shape": Attack(
        6, "byte length", header(lambda d: d[f"{KEY}/left"].update(shape=[2**40, 2**40]))
    ),
    "sparse index out of range": Attack(6, "out of range", sparse([[0, 32], [0, 0]])),
    "sparse index negative": Attack(6, "out of range", sparse([[-1, 0], [0, 0]])),
    "sparse index twice": Attack(6, "names a place twice", sparse([[1, 1], [2, 2]])),
    "sparse index not ascending": Attack(6, "not strictly ascending", sparse([[1, 0], [2, 2]])),
    "row out of range": Attack(6, "out of range", rows([0, 32])),
    "row twice": Attack(6, "names a place twice", rows([1, 1])),
    "factor with NaN": Attack(6, "not finite", factor(float("nan"))),
    "factor with an infinity": Attack(6, "not finite", factor(float("inf"))),
    "scale that overflows": Attack(6, "overflows F32", forged(lambda made: made.core["apply"].update(scale=1e300))),
    **{
        f"scale that overflows, {what}": Attack(6, "overflows F32", overflowing(*command))
        for what, command in {
            "shown before it is applied": ("apply", "{other}", "--model", "{model}", "--dry-run"),
            "the same as JSON": ("apply", "--model", "{model}", "--dry-run", "--json"),
            "compared": ("diff", "{other}"),
            "compared as JSON": ("diff", "{other}", "--model", "{model}", "--json"),
            "squashed": ("squash", "{other}", "-o", "{place}/out.safetensors"),
            "squashed to a rank": ("squash", "{other}", "--max-rank", "1", "-o", "{place}/out.safetensors"),
            "as an adapter": ("export", "--model", "{model}", "--to", "peft", "-o", "{place}/adapter"),
        }.items()
    },
    "patch_id of another patch": Attack(6, "its patch_id says", forged(lambda made: made.outside.update(patch_id=SHA))),
    "annotation changed": Attack(6, "its about_sha256 says", forged(lambda m: m.outside.update(about_sha256=SHA))),
    "part hash of another part": Attack(6, "was changed", part(sha256=SHA)),
    "target that is a path": Attack(6, "not a plain tensor name", forged(lambda m: m.rename(KEY, "../../etc/passwd"))),
    "target that is an absolute path": Attack(6, "not a plain tensor name", forged(lambda m: m.rename(KEY, "/etc/x"))),
    "target with a zero byte": Attack(6, "not a plain tensor name", forged(lambda m: m.rename(KEY, "a\0b"))),
    "part that is a path": Attack(
        6, "not a plain tensor name", target(parts={"../left": {"dtype": "F32", "shape": [1], "sha256": SHA}})
    ),
    "requires a path": Attack(6, "not a list of patch ids", forged(lambda m: m.core.update(requires=["../../x"]))),
    "requires what is missing": Attack(4, f"requires {SHA[:12]}", forged(lambda m: m.core.update(requires=[SHA]))),
    "requires in a circle": Attack(6, "its patch_id says", _circle),
    "rank larger than the matrix": Attack(
        6, "rank 33", forged(lambda m: m.put(KEY, "low_rank", left=torch.ones(32, 33), right=torch.ones(33, 48)))
    ),
    "rank of nothing": Attack(
        6, "rank 0", forged(lambda m: m.put(KEY, "low_rank", left=torch.ones(32, 0), right=torch.ones(0, 48)))
    ),
    "version from the future": Attack(
        6, "this version reads 1.x", forged(lambda m: m.outside.update(format_version="2.0"))
    ),
    "form from the future": Attack(6, "does not read it", target(form="spline")),
    "kind from the future": Attack(6, "does not know", forged(lambda made: made.core.update(kind="spell"))),
    "rule from the future": Attack(6, "does not know", forged(lambda m: m.core["apply"].update(rule="add"))),
    "shape beyond any memory, squashed": Attack(1, "of memory", two_huge("squash", "-o", "{place}/out.safetensors")),
    "shape beyond any file": Attack(6, "no file", target(shape=[2**40, 2**40])),
    "shape beyond any integer": Attack(6, "beyond what a double holds", target(shape=[2**62, 2**62])),
    "name of a megabyte": Attack(6, "not a plain tensor name", forged(lambda made: made.rename(KEY, "a" * 10**6))),
    "tensor name of a megabyte": Attack(
        6, "alone", header(lambda document: document.update({"a" * 10**6: {"dtype": "F32"}}))
    ),
    "field of a megabyte": Attack(6, "does not know", forged(lambda made: made.core.update({"a" * 10**6: 1}))),
    "message with terminal codes": Attack(6, "does not read it", target(form="\x1b]0;x\x07\x1b[2J")),
    "memory whose texts end beyond its bytes": Attack(
        6, "does not divide", remembered(0, lambda m: m.set("payload/offsets", m.tensors["payload/offsets"] * 2**40))
    ),
    "memory whose texts are not UTF-8": Attack(
        6, "does not hold UTF-8", remembered(0, lambda m: m.set("payload/text", m.tensors["payload/text"] | 128))
    ),
    "memory with a key that is not a number": Attack(
        6, "not finite", remembered(0, lambda m: m.set("payload/keys", m.tensors["payload/keys"] * torch.nan))
    ),
    "memory of a layer that is a text": Attack(
        6, "its layer is not a number", remembered(0, lambda m: m.core["payload"]["data"].update(layer="../1"))
    ),
    "memory whose encoder is a path": Attack(
        6, "not a block", remembered(1, lambda m: m.core["payload"]["data"].update(encoder="../../encoder"))
    ),
    "memory with fewer vectors than texts": Attack(
        6, "a row for each text", remembered(1, lambda m: m.set("payload/vectors", m.tensors["payload/vectors"][:1]))
    ),
    "a journal that names a file elsewhere": Attack(6, "is not a file name", _journal),
    "an index that names a file elsewhere": Attack(6, "which is not a file of its folder", _index),
}


@frozen
class Met:
    """How an attack ended; `memory` is Python's peak in bytes beside what it had, `size` that of the file."""

    code: int
    said: str
    memory: int
    size: int
    seconds: float


def meet(attack: Attack, bench: Bench) -> Met:
    """Run it, and check all but its own code and message: short lines, nothing written, little taken."""
    arguments = attack.build(bench)
    size = max((path.stat().st_size for path in bench.place.glob("*.safetensors")), default=0)
    before = tree(bench.place)
    started = time.process_time()
    with capped():
        tracemalloc.start()
        code, said = call(arguments)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    met = Met(code, said, memory, size, time.process_time() - started)
    error_lines(said)
    assert said.endswith("\n"), said
    assert len(said) < LONGEST, f"a message of {len(said)} characters"
    assert tree(bench.place) == before, "something was written"
    assert memory < FACTOR * size + BESIDE, f"{memory} bytes for a file of {size}"
    assert met.seconds < SECONDS, f"{met.seconds:.1f} s"
    return met


@contextlib.contextmanager
def capped(space: int = SPACE) -> Iterator[None]:
    """Let an allocation fail that takes more than `space` beside what the process has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + space, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run() -> list[str]:
    rows = ["| attack | exit code | error | hint |", "|---|---|---|---|"]
    worst = slowest = 0.0
    for name, attack in ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            ready = bench(Path(folder))
            met = meet(attack, ready)
            assert met.code == attack.code, f"{name}: exit code {met.code}, not {attack.code}: {met.said}"
            assert attack.says in met.said, f"{name}: {met.said}"
            rows.append(f"| {name} | {met.code} | {shown(met.said, ready.place)} |")
            worst = max(worst, (met.memory - BESIDE) / max(met.size, 1))
            slowest = max(slowest, met.seconds)
    said = (
        f"{len(ATTACKS)} attacks, each refused with an error and a hint, nothing written. Python's memory for one: "
        f"at most {max(worst, 0):.1f} times the size of the file beyond {BESIDE // 2**20} MB; no allocation over "
        f"{SPACE // 2**20} MB; processor time at most {slowest:.1f} s."
    )
    return [said, "", *rows]


def shown(said: str, place: Path) -> str:
    """Error and hint in two cells of a table."""
    lines = {line.partition(": ")[0]: line.partition(": ")[2] for line in said.replace("|", "/").splitlines()}
    return " | ".join(lines.get(part, "").replace(f"{place}/", "") for part in ("error", "hint"))
