"""The strict reader of safetensors headers: what it accepts, and every lie it refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from editcore.storage.safetensors_reader import MAX_HEADER, read_header, read_span
from editcore.storage.safetensors_writer import Blob, write_safetensors
from editcore_hooks import RefusedFileError, UsageError

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: object, data: bytes = b"\0" * 8, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3), "a": torch.zeros(0), "c": torch.ones(())}
    save_file(tensors, tmp_path / "x.safetensors", {"format": "pt"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.metadata == {"format": "pt"}
    assert {name: (entry.dtype, entry.shape) for name, entry in header.entries.items()} == {
        "a": ("F32", (0,)),
        "b": ("BF16", (2, 3)),
        "c": ("F32", ()),
    }
    data = read_span(tmp_path / "x.safetensors", header.entries["b"])
    assert data == tensors["b"].view(torch.uint8).numpy().tobytes()


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    blobs = {"z": Blob("BOOL", (3,), b"\1\0\1"), "a/b": Blob("F64", (1,), bytes(8)), "empty": Blob("F16", (0, 4), b"")}
    write_safetensors(tmp_path / "x.safetensors", blobs, {"editcore": '{"é": "\\""}'})
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert set(file.keys()) == set(blobs)
        assert file.get_tensor("z").tolist() == [True, False, True]
        assert file.get_tensor("a/b").tolist() == [0.0]
        assert file.metadata() == {"editcore": '{"é": "\\""}'}
    assert set(read_header(tmp_path / "x.safetensors").entries) == set(blobs)


@pytest.mark.parametrize("data", [b"hi", b"hello", b"hello, this is some text", (2**63).to_bytes(8, "little") + b"{}"])
def test_a_file_whose_beginning_is_no_length_is_no_safetensors_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(RefusedFileError, match=r"x\.safetensors is not a safetensors file"):
        read_header(tmp_path / "x.safetensors")


@pytest.mark.parametrize("data", [b"", b'{"a": '])
def test_a_file_that_ends_in_its_header_is_truncated(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(RefusedFileError, match="is truncated: its header is longer than the file"):
        read_header(write(tmp_path / "x.safetensors", data, b"", length=1000))


def test_writing_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        write_safetensors(tmp_path / "no" / "x.safetensors", {}, {})


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        pytest.param(b'{"a":1', b"", "not JSON", id="cut JSON"),
        pytest.param(b'["a"]', b"", "not a JSON object", id="a list"),
        pytest.param(b'{"a": NaN}', b"", "NaN", id="NaN"),
        pytest.param(b"\xff\xfe{}", b"", "not a JSON object", id="other encoding"),
        pytest.param(b'{"\xff": 1}', b"", "not JSON", id="invalid UTF-8"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", "nested too deep", id="parser bomb"),
        pytest.param(b'{"a":' + b"[" * 80 + b"]" * 80 + b"}", b"", "nested too deep", id="deep"),
        pytest.param(
            b'{"a":' + json.dumps(ENTRY).encode() + b',"a":' + json.dumps(ENTRY).encode() + b"}",
            bytes(8),
            "occurs twice",
            id="duplicate tensor",
        ),
        pytest.param({"a": {**ENTRY, "dtype": "F31"}}, bytes(8), "unknown dtype", id="dtype"),
        pytest.param({"a": {**ENTRY, "dtype": ["F32"]}}, bytes(8), "unknown dtype", id="dtype is a list"),
        pytest.param({"a": {**ENTRY, "shape": [3]}}, bytes(8), "byte length", id="shape too large"),
        pytest.param({"a": {**ENTRY, "shape": [-2]}}, bytes(8), "invalid shape", id="negative shape"),
        pytest.param({"a": {**ENTRY, "shape": [2.0]}}, bytes(8), "invalid shape", id="fractional shape"),
        pytest.param({"a": {**ENTRY, "shape": [True, 2]}}, bytes(8), "invalid shape", id="boolean shape"),
        pytest.param({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8), "invalid shape", id="reversed offsets"),
        pytest.param({"a": {**ENTRY, "extra": 1}}, bytes(8), "alone", id="extra field"),
        pytest.param({"a": {**ENTRY, "data_offsets": [0, 8]}}, bytes(4), "truncated", id="file too short"),
        pytest.param({"a": ENTRY}, bytes(12), "belong to no tensor", id="trailing bytes"),
        pytest.param({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12), "leaves a hole", id="hole"),
        pytest.param({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12), "overlaps", id="overlap"),
        pytest.param({"a": ENTRY, "__metadata__": {"x": 1}}, bytes(8), "not text by text", id="metadata not text"),
    ],
)
def test_refuses(tmp_path: Path, header: object, data: bytes, says: str) -> None:
    with pytest.raises(RefusedFileError, match=says) as caught:
        read_header(write(tmp_path / "x.safetensors", header, data))
    assert caught.value.exit_code == 6
    assert "\n" not in caught.value.message


def test_refuses_a_header_longer_than_the_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="longer than the file"):
        read_header(write(tmp_path / "x.safetensors", {"a": ENTRY}, length=2**20))


def test_refuses_a_header_over_the_limit_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((MAX_HEADER + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER + 100)  # sparse: takes no room
    with pytest.raises(RefusedFileError, match="over 100000000 bytes"):
        read_header(path)


def test_refuses_a_file_of_seven_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"1234567")
    with pytest.raises(RefusedFileError, match="is not a safetensors file"):
        read_header(tmp_path / "x.safetensors")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="No such file"):
        read_header(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"PK\x03\x04", "is a zip archive, as torch.save writes for .pt and .bin"),
        (b"\x80\x02", "is a pickle"),
        (b"GGUF\x03\0\0\0", "is a GGUF file"),
        (b"version https://git-lfs", "is a Git LFS pointer"),
        (b"", "is empty"),
    ],
)
def test_a_file_of_another_format_is_called_what_it_is(tmp_path: Path, begin: bytes, said: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(begin and begin + bytes(64))
    with pytest.raises(RefusedFileError, match=said) as caught:
        read_header(path)
    assert "truncated" not in str(caught.value)
    assert caught.value.hint
