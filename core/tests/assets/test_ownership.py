"""A cache that another user can write is used, with a warning."""

import os
import stat
import warnings
from pathlib import Path

import pytest
import torch

from editcore.assets.identity import Identity
from editcore.assets.ownership import CacheWarning
from editcore.assets.store import AssetStore

IDENTITY = Identity("second_moment", "editcore-keyvalue", "a" * 64)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_cache_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = AssetStore(tmp_path / "cache" / "assets")
        store.put(IDENTITY, {"a": torch.ones(1)})
        with AssetStore(tmp_path / "other" / "assets").lock(IDENTITY):
            pass
    finally:
        os.umask(before)
    assert mode(tmp_path / "cache" / "assets") == 0o700
    assert mode(tmp_path / "other" / "assets") == 0o700


@pytest.mark.parametrize("bits", [0o777, 0o702, 0o1777])
def test_a_cache_that_others_can_write_is_a_warning_once(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    store = AssetStore(tmp_path)
    with pytest.warns(CacheWarning, match="can be written by other users.*chmod go-w"):
        store.find(IDENTITY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.find(IDENTITY)


def test_a_cache_of_another_user_is_a_warning(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    if tmp_path.stat().st_uid == 0:  # what root owns is fine for everyone
        os.chown(tmp_path, 12345, -1)
    with pytest.warns(CacheWarning, match="belongs to another user"):
        AssetStore(tmp_path).find(IDENTITY)


@pytest.mark.parametrize("bits", [0o700, 0o755, 0o770])
def test_a_cache_of_one_s_own_is_no_warning(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    os.chown(tmp_path, -1, os.getgid())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AssetStore(tmp_path).find(IDENTITY)
        AssetStore(tmp_path / "missing").find(IDENTITY)
