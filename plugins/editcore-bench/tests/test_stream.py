"""Records of JSON files of any length, one at a time."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from editcore_bench.datasets import stream
from editcore_bench.datasets.stream import records
from editcore_hooks import RefusedFileError, UsageError

ROWS: list[Any] = [{"a": "x] , {", "b": [1, {"c": '"'}]}, {"a": "Δ\u2028"}, {}]


def put(folder: Path, text: str) -> Path:
    path = folder / "rows.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 18])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4, ensure_ascii=False) + "\n\n",
        "\ufeff  " + json.dumps(ROWS),
        "\n".join(json.dumps(row) for row in ROWS) + "\n",
    ],
)
def test_lists_and_lines_are_read_alike_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(stream, "CHUNK", chunk)
    assert list(records(put(tmp_path, text))) == list(enumerate(ROWS, 1))


def test_an_empty_list_has_no_records(tmp_path: Path) -> None:
    assert list(records(put(tmp_path, " [ ]\n"))) == []


def test_a_long_list_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    row = json.dumps({"text": "a line of some length, " * 40})
    path = put(tmp_path, f"[{', '.join([row] * 20_000)}]")
    assert path.stat().st_size > 18_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in records(path)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rows.json is empty"),
        ("<html>", "rows.json is not JSON: it starts with '<html>'"),
        ('[{"a": 1}, {"a": }]', "rows.json, record 2 is not JSON: Expecting value"),
        ('[{"a": 1}, {"a": 2}', "ends before its list does, after record 2"),
        ('[{"a": 1} {"a": 2}]', "has '{' where a comma or ] belongs, after record 1"),
        ('[{"a": 1}, {"a": "x', "record 2 is not JSON: Unterminated string"),
        ('[{"a": 1}] x', "continues after its list, with 'x'"),
        ("[" * 100_000, "record 1 is nested too deep"),
    ],
)
def test_what_is_no_such_json_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RefusedFileError) as caught:
        list(records(put(tmp_path, text)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_record_does_not_pull_in_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 64)
    monkeypatch.setattr(stream, "LONGEST", 1024)
    path = put(tmp_path, '[{"a": 1 "b": 2}, ' + ", ".join(['{"a": 1}'] * 200_000) + "]")
    tracemalloc.start()
    try:
        with pytest.raises(RefusedFileError, match="record 1 is not JSON"):
            list(records(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_a_pointer_to_a_large_file_is_told_from_the_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="git lfs pull"):
        list(records(put(tmp_path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")))


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json.gz").write_bytes(b"\x1f\x8b\x08\x00\xff\xff")
    with pytest.raises(RefusedFileError, match="not UTF-8 text"):
        list(records(tmp_path / "rows.json.gz"))
    with pytest.raises(UsageError, match="there is no file"):
        list(records(tmp_path / "none.json"))
