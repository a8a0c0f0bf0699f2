"""A manifest of an asset is believed as little as that of a patch: every hash may fit and the file be refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from editcore.assets.file import CorruptAssetError, read_manifest
from editcore.assets.identity import Identity
from editcore.assets.store import AssetStore, AssetWarning
from editcore.storage.canonical import canonical
from editcore.storage.safetensors_reader import read_header
from editcore.storage.safetensors_writer import safetensors_chunks
from editcore.storage.tensors import blob_of
from editcore_hooks import UsageError

TENSORS = {"mean": torch.ones(2)}
IDENTITY = Identity("second_moment", "editcore-keyvalue", "a" * 64, {"layer": 3})
Json = dict[str, Any]


def forged(path: Path, change: Callable[[Json], object], text: Callable[[str], str] = lambda text: text) -> Path:
    """The asset, its manifest changed and its hashes made to fit."""
    tensors = {name: hashlib.sha256(data.numpy().tobytes()).hexdigest() for name, data in TENSORS.items()}
    document: Json = {
        "format": "editcore.asset",
        "format_version": "1.0",
        "core": {**IDENTITY.as_json(), "tensors": tensors},
        "about": {},
    }
    change(document)
    hashes = {name: hashlib.sha256(canonical(document[key])).hexdigest() for name, key in SHA.items()}
    save_file(TENSORS, path, metadata={"editcore": text(json.dumps({**hashes, **document}))})
    return path


SHA = {"sha256": "core", "about_sha256": "about"}


def test_what_was_not_changed_is_read(tmp_path: Path) -> None:
    assert read_manifest(forged(tmp_path / "a.safetensors", lambda document: None)).identity.key == IDENTITY.key


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(extra=1),
        lambda d: d["core"].update(extra=1),
        lambda d: d["core"].pop("owner"),
        lambda d: d["core"].update(owner=3),
        lambda d: d["core"].update(parameters=[1]),
        lambda d: d["core"].update(parameters={"layer": -0.0}),
        lambda d: d["core"].update(kind="../x"),
        lambda d: d["core"].update(tensors={"mean": "x"}),
        lambda d: d["core"].update(tensors={}),
        lambda d: d.update(about=[1]),
        lambda d: d.update(format_version="1"),
        lambda d: d.update(format_version="0.9"),
        lambda d: d.update(format_version="1."),
        lambda d: d.update(format_version=1),
        lambda d: d.update(sha256="0" * 64),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_refused(tmp_path: Path, change: Callable[[Json], object]) -> None:
    with pytest.raises(CorruptAssetError, match="is corrupt"):
        read_manifest(forged(tmp_path / "a.safetensors", change))


@pytest.mark.parametrize(
    "text",
    [
        lambda text: text[:-1] + ', "format": "editcore.asset"}',
        lambda text: text.replace('"layer": 3', '"layer": NaN'),
        lambda text: text.replace('"layer": 3', '"layer": ' + "1" * 5000),
        lambda text: text.replace('"about": {}', '"about": {"a": ' + "[" * 10_000 + "]" * 10_000 + "}"),
        lambda text: text.replace('"about": {}', '"about": {"a": "\\ud83d"}'),
        lambda text: "[" * 100_000,
    ],
)
def test_json_that_two_readers_understand_differently_is_refused(tmp_path: Path, text: Callable[[str], str]) -> None:
    with pytest.raises(CorruptAssetError, match="is corrupt"):
        read_manifest(forged(tmp_path / "a.safetensors", lambda document: None, text))


def test_another_metadata_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, metadata={"editcore": "{}", "other": "1"})
    with pytest.raises(CorruptAssetError, match="`editcore` alone"):
        read_manifest(path)


def test_bytes_that_belong_to_no_tensor_are_refused(tmp_path: Path) -> None:
    path = forged(tmp_path / "a.safetensors", lambda document: None)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"data_offsets":[0,8]', b'"data_offsets":[8,16]')
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"hidden!!" + data[8 + length :])
    with pytest.raises(CorruptAssetError, match="hole"):
        read_manifest(path)


def test_work_without_progress_is_started_again(tmp_path: Path) -> None:
    store = AssetStore(tmp_path)
    forged(tmp_path / f"{IDENTITY.stem}.partial", lambda document: document.update(about={"progress": 3}))
    assert store.partial(IDENTITY).load() is None


def test_a_forged_asset_is_set_aside(tmp_path: Path) -> None:
    forged(tmp_path / f"{IDENTITY.stem}.safetensors", lambda document: document.update(extra=1))
    with pytest.warns(AssetWarning, match="set aside"):
        assert AssetStore(tmp_path).find(IDENTITY) is None


def test_an_asset_is_written_as_the_strict_writer_writes_a_patch(tmp_path: Path) -> None:
    asset = AssetStore(tmp_path).put(IDENTITY, TENSORS)
    metadata = read_header(asset.path).metadata
    blobs = {name: blob_of(tensor) for name, tensor in TENSORS.items()}
    assert asset.path.read_bytes() == b"".join(safetensors_chunks(blobs, metadata))


def test_values_that_nest_too_deep_name_no_asset() -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(UsageError, match="deeper than 64 levels"):
        Identity("kind", "owner", "root", {"deep": deep})
