"""The folder of a run: `run.json`, the cases of each dataset, and two files a cell, its rows and its record.

    run.json                    what was asked for, of which models and cases by hash, on which machine and versions
    cases/DATASET.jsonl         the cases, as `editcore edit --requests` and `editcore eval --cases` read them
    cells/NAME.jsonl            rows: one JSON object a metric, prompt and moment, texts included
    cells/NAME.json             the cell, the patches it made, what it cost, the sha256 of its rows

Every file appears whole. A cell is finished when its record is there and its rows have the hash that it says.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from editcore.authoring.files import file_sha256, load_json, make_folder, remove, sha256_of, write_atomically
from editcore_bench.runs.record import CellRecord, record_from_json
from editcore_bench.spec.values import Cell
from editcore_hooks import ConflictError, RefusedFileError, UsageError

FORMAT: Final = "editcore.bench"
VERSION: Final = 1
_STAGED: Final = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
"""Temporary files of `write_atomically`."""


@frozen
class RunFolder:
    path: Path

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A folder that holds a run. Raises `UsageError`, and `RefusedFileError` for one from the future."""
        folder = cls(path)
        if not folder._manifest.is_file():
            raise UsageError(f"{path} holds no benchmark run", hint="make one with `editcore bench run SPEC`")
        manifest = folder.manifest()
        if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
            raise RefusedFileError(f"{path} is a run of an unknown version", hint="pip install -U editcore-bench")
        return folder

    @property
    def _manifest(self) -> Path:
        return self.path / "run.json"

    def manifest(self) -> dict[str, Any]:
        value = load_json(self._manifest.read_bytes(), str(self._manifest))
        if not isinstance(value, dict):
            raise RefusedFileError(f"{self._manifest} is not the manifest of a run")
        return value

    def begin(self, manifest: Mapping[str, Any], cases: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Make the folder, or resume it. Raises `UsageError` when it holds a run of something else."""
        if self._manifest.is_file():
            there = RunFolder.open(self.path).manifest()["identity"]
            if there != manifest["identity"]:
                asked = manifest["identity"]
                changed = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
                raise UsageError(
                    f"{self.path} holds a run that differs in {' and '.join(changed)}", hint="choose another --out"
                )
            return
        if self.path.exists():
            self._clear(f"{file_stem(label)}.jsonl" for label in cases)
        for folder in (self.path / "cases", self.path / "cells"):
            make_folder(folder)
        for label, rows in cases.items():
            write_atomically(self.path / "cases" / f"{file_stem(label)}.jsonl", [_lines(rows)])
        write_atomically(self._manifest, [_pretty({"format": FORMAT, "version": VERSION, **manifest})])

    def _clear(self, cases: Iterable[str]) -> None:
        """Make a folder empty that holds nothing but what a killed `begin` leaves. Raises `UsageError`."""
        ours = {self.path / name for name in (".lock", "cases", "cells", *(f"cases/{name}" for name in cases))}
        staged = []
        for entry in self.path.rglob("*"):
            if _STAGED.fullmatch(entry.name):
                staged.append(entry)
            elif entry not in ours:
                raise UsageError(f"{self.path} holds other files and no run", hint="choose another --out")
        for entry in staged:
            remove(entry)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against another run into it. Raises `ConflictError`."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConflictError(
                f"another run is writing into {self.path}", hint="wait for it, or choose --out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def finished(self, cell: Cell) -> bool:
        """Whether the cell is there, and whole."""
        record, rows = self._files(cell)
        return record.is_file() and rows.is_file() and self._record(record).rows_sha256 == file_sha256(rows)

    def write(self, cell: Cell, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        """Keep a cell: first its rows, then the record that says that they are whole."""
        record, path = self._files(cell)
        data = _lines(rows)
        write_atomically(path, [data])
        one = CellRecord(cell, sha256(data).hexdigest(), **about)
        write_atomically(record, [_pretty(one.to_json())])

    def records(self) -> list[CellRecord]:
        """The finished cells, in the order of the spec."""
        order = {name: place for place, name in enumerate(self.manifest()["cells"])}
        paths = sorted((self.path / "cells").glob("*.json"), key=lambda path: order.get(path.stem, len(order)))
        found = [self._record(path) for path in paths]
        return [record for record in found if self.finished(record.cell)]

    def rows(self, cell: Cell) -> Iterator[dict[str, Any]]:
        path = self._files(cell)[1]
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = load_json(line, f"{path}, line {number}")
                if not isinstance(row, dict):
                    raise RefusedFileError(f"{path}, line {number} is not a row")
                yield row

    def cases(self, label: str) -> dict[str, dict[str, Any]]:
        """The cases of a dataset by id, as JSON values."""
        path = self.path / "cases" / f"{file_stem(label)}.jsonl"
        rows = [load_json(line, str(path)) for line in path.read_text(encoding="utf-8").splitlines()]
        return {row["id"]: row for row in rows}

    def _files(self, cell: Cell) -> tuple[Path, Path]:
        stem = self.path / "cells" / cell_name(cell)
        return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.jsonl")

    def _record(self, path: Path) -> CellRecord:
        return record_from_json(load_json(path.read_bytes(), str(path)), str(path))


def cell_name(cell: Cell) -> str:
    """The name of a cell's files: readable, and unlike that of any other cell."""
    return f"{file_stem(cell.label)}-{sha256_of(cell.to_json())[:8]}"


def file_stem(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    texts = (json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for row in rows)
    return "".join(f"{text}\n" for text in texts).encode()


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()
