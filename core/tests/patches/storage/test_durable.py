"""What must be on the disk before what: the promises that a power cut tests."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.file.patch import Patch
from editcore.storage import durable


def test_bytes_are_synced_before_the_rename_and_names_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("rename"), replace(a, b)))
    durable.write_atomically(tmp_path / "x", [b"1", b"2"])
    assert (tmp_path / "x").read_bytes() == b"12"
    assert seen[0].endswith(".tmp")
    assert seen[1:] == ["rename", tmp_path.name]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def chunks() -> object:
        yield b"new"
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        durable.write_atomically(tmp_path / "x", chunks())  # type: ignore[arg-type]
    assert (tmp_path / "x").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "x", [b"new"])
    assert (tmp_path / "x").read_bytes() == b"old"


def test_the_journal_is_synced_before_the_weights_are_renamed(
    folder: Callable[..., Path], make_patch: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("gpt2")
    patch = make_patch(root, "transformer.h.0.mlp.c_proj.weight")
    order: list[str] = []
    replace, write_new = durable.replace, durable.write_new

    def record_replace(source: Path, destination: Path) -> None:
        order.append(f"rename {destination.name}")
        replace(source, destination)

    def record_write(path: Path, *rest: object) -> None:
        write_new(path, *rest)  # type: ignore[arg-type]
        order.append("write " + ("weights" if path.name.startswith("model.safetensors") else "record"))

    monkeypatch.setattr(durable, "replace", record_replace)
    monkeypatch.setattr(durable, "write_new", record_write)
    apply_on_disk(root, [patch])
    commit = order.index("rename model.safetensors")
    journals = [i for i, what in enumerate(order) if what == "rename journal.json"]
    assert journals[0] == 1, "the journal is the first thing written"
    assert order.index("write weights") < journals[1] < commit < order.index("rename editcore.json")


def test_a_file_is_written_whole_however_early_its_flush_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_STRETCH", 3)
    durable.write_new(tmp_path / "x", [b"12", b"", memoryview(b"345678"), b"9"])
    assert (tmp_path / "x").read_bytes() == b"123456789"


@pytest.mark.parametrize("failing_after", [None, 0, 1])
def test_a_span_is_copied_whatever_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_after: int | None
) -> None:
    data = os.urandom(3 * 2**20)
    (tmp_path / "source").write_bytes(data)
    copy, calls = os.copy_file_range, []

    def limited(source: int, target: int, count: int, start: int) -> int:
        calls.append(count)
        if failing_after is not None and len(calls) > failing_after:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return copy(source, target, min(count, 2**20), start)

    monkeypatch.setattr(os, "copy_file_range", limited)
    with (tmp_path / "source").open("rb", buffering=0) as file:
        spans = [
            durable.Span(file, 5, 2**20 + 3),
            b"between",
            durable.Span(file, 2**21, 2**20),
            durable.Span(file, 9, 0),
        ]
        durable.write_new(tmp_path / "new", spans)
        with pytest.raises(OSError, match="ended while"):
            durable.write_new(tmp_path / "beyond", [durable.Span(file, 2**21, 2**21)])
    assert (tmp_path / "new").read_bytes() == data[5 : 2**20 + 8] + b"between" + data[2**21 :]


def test_a_copy_has_bits_mode_and_time_of_its_source(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"x" * 1000)
    source.chmod(0o640)
    os.utime(source, ns=(5, 7_000_000_001))
    durable.copy_new(source, copy)
    assert copy.read_bytes() == source.read_bytes()
    assert (copy.stat().st_mode, copy.stat().st_mtime_ns) == (source.stat().st_mode, source.stat().st_mtime_ns)
