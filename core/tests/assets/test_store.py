"""Assets are found by identity, checked to the last byte, and never crash the next run."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from editcore.assets.identity import Identity
from editcore.assets.store import AssetStore, AssetWarning, cache_folder
from editcore_hooks import ConflictError, RefusedFileError, UsageError

TENSORS = {"mean": torch.arange(6.0).reshape(2, 3), "half": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(7)}


@pytest.fixture
def store(tmp_path):
    return AssetStore(tmp_path / "assets")


def identity(**parameters):
    return Identity("second_moment", "editcore-keyvalue", "a" * 64, {"layer": 3, **parameters})


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_what_was_put_is_found_and_loaded_to_the_bit(store):
    assert store.find(identity()) is None
    put = store.put(identity(), TENSORS, {"corpus": "self"})
    assert store.find(identity()) == put
    assert same(store.load(put), TENSORS)
    assert store.about(put) == {"corpus": "self"}
    assert store.list() == (put,)


@pytest.mark.parametrize(
    "other",
    [
        identity(layer=4),
        identity(tokens=1),
        Identity("projector", "editcore-keyvalue", "a" * 64, {"layer": 3}),
        Identity("second_moment", "editcore-other", "a" * 64, {"layer": 3}),
        Identity("second_moment", "editcore-keyvalue", "b" * 64, {"layer": 3}),
    ],
)
def test_any_part_of_the_identity_tells_two_assets_apart(store, other):
    store.put(identity(), TENSORS)
    assert store.find(other) is None


def test_the_order_of_parameters_and_tuples_do_not_matter(store):
    store.put(identity(a=1, b=(2, 3)), TENSORS)
    assert store.find(identity(b=[2, 3], a=1)) is not None


def test_the_file_is_the_same_bytes_each_time_and_its_metadata_one_key(store):
    first = store.put(identity(), TENSORS, {"b": 1, "a": 2})
    data = first.path.read_bytes()
    assert store.put(identity(), dict(reversed(TENSORS.items())), {"a": 2, "b": 1}).path.read_bytes() == data
    with safe_open(first.path, "pt") as opened:
        assert list(opened.metadata()) == ["editcore"]
        manifest = json.loads(opened.metadata()["editcore"])
    assert manifest["sha256"] == first.sha256
    assert manifest["core"]["parameters"] == {"layer": 3}


def test_the_hash_covers_tensors_and_identity_but_no_annotation(store):
    first = store.put(identity(), TENSORS, {"seconds": 1.0}).sha256
    assert store.put(identity(), TENSORS, {"seconds": 2.0}).sha256 == first
    assert store.put(identity(), {**TENSORS, "n": torch.tensor(8)}).sha256 != first
    assert store.put(identity(layer=4), TENSORS).sha256 != first


def test_tensors_that_share_memory_or_are_views_are_kept(store):
    square = torch.arange(9.0).reshape(3, 3)
    put = store.put(identity(), {"whole": square, "row": square[1], "turned": square.T, "empty": torch.zeros(0, 3)})
    loaded = store.load(put)
    assert torch.equal(loaded["row"], square[1])
    assert torch.equal(loaded["turned"], square.T)
    assert loaded["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:4],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b'\\"layer\\":3', b'\\"layer\\":4'),
        lambda data: data.replace(b"self", b"them"),
        lambda data: data.replace(b"mean", b"mode"),
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"[" + data[9:],
        lambda data: os.urandom(200),
    ],
)
def test_a_corrupt_file_is_reported_set_aside_and_computed_again(store, damage):
    put = store.put(identity(), TENSORS, {"corpus": "self"})
    whole = put.path.read_bytes()
    put.path.write_bytes(damage(whole))
    assert put.path.read_bytes() != whole
    with pytest.raises(RefusedFileError, match="corrupt"):
        store.load(put)
    with pytest.warns(AssetWarning, match="corrupt.*set aside"):
        assert store.find(identity()) is None
    assert not put.path.exists()
    assert store.put(identity(), TENSORS, {"corpus": "self"}) == put
    assert same(store.load(put), TENSORS)


def test_a_file_under_another_ones_name_is_not_taken_for_it(store):
    put = store.put(identity(), TENSORS)
    other = store.put(identity(layer=9), TENSORS)
    os.replace(other.path, put.path)
    with pytest.warns(AssetWarning, match="another identity"):
        assert store.find(identity()) is None


def test_an_asset_replaced_since_it_was_found_is_not_loaded(store):
    put = store.put(identity(), TENSORS)
    store.put(identity(), {"mean": torch.zeros(1)})
    with pytest.raises(RefusedFileError, match="replaced"):
        store.load(put)
    put.path.unlink()
    with pytest.raises(RefusedFileError, match="gone"):
        store.load(put)


def test_a_file_of_the_future_is_refused_and_left_alone(store):
    put = store.put(identity(), TENSORS)
    put.path.write_bytes(put.path.read_bytes().replace(b'\\"format_version\\":\\"1.0', b'\\"format_version\\":\\"2.0'))
    with pytest.raises(RefusedFileError, match="newer"):
        store.find(identity())
    assert put.path.exists()


def test_a_list_reports_what_it_cannot_read_and_goes_on(store):
    put = store.put(identity(), TENSORS)
    (store.folder / "junk.safetensors").write_bytes(b"junk")
    with pytest.warns(AssetWarning, match="junk"):
        assert store.list() == (put,)


def test_an_interrupted_write_leaves_the_old_asset_and_no_litter(store, monkeypatch):
    put = store.put(identity(), TENSORS)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.put(identity(), {"mean": torch.zeros(1)})
    monkeypatch.undo()
    assert same(store.load(put), TENSORS)
    assert [path.name for path in store.folder.iterdir()] == [put.path.name]


def test_work_is_resumed_where_it_was_saved_and_gone_once_the_asset_is_put(store):
    assert store.partial(identity()).load() is None
    store.partial(identity()).save({"sum": torch.ones(2)}, {"chunks": 4})
    tensors, progress = store.partial(identity()).load()
    assert torch.equal(tensors["sum"], torch.ones(2))
    assert progress == {"chunks": 4}
    assert store.find(identity()) is None
    assert store.partial(identity(layer=4)).load() is None
    assert store.list() == ()
    store.put(identity(), TENSORS)
    assert store.partial(identity()).load() is None


def test_corrupt_work_is_started_anew(store):
    store.partial(identity()).save({"sum": torch.ones(2)}, {"chunks": 4})
    (path,) = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(AssetWarning):
        assert store.partial(identity()).load() is None


@pytest.mark.parametrize("kind", ["", "../up", "a/b", ".hidden", "A", "x" * 65])
def test_a_kind_that_is_no_file_name_is_refused(kind):
    with pytest.raises(UsageError, match="asset kind"):
        Identity(kind, "owner", "root")


@pytest.mark.parametrize("value", [float("nan"), object(), 2**60, {1: 2}])
def test_parameters_that_are_no_json_are_refused(value):
    with pytest.raises(UsageError, match="JSON"):
        identity(x=value)


def test_the_folder_is_the_one_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "mine"))
    assert AssetStore().folder == tmp_path / "mine" / "assets"
    monkeypatch.delenv("EDITCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "editcore"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "editcore"


WAITER = """
import sys
from editcore.assets.identity import Identity
from editcore.assets.store import AssetStore
store, identity = AssetStore(sys.argv[1]), Identity("second_moment", "o", "r")
print("found" if store.find(identity) else "absent", flush=True)
with store.lock(identity):
    print("found" if store.find(identity) else "absent", flush=True)
"""


def test_a_process_that_waited_finds_what_the_other_computed(store):
    wanted = Identity("second_moment", "o", "r")
    with store.lock(wanted):
        waiter = subprocess.Popen([sys.executable, "-c", WAITER, str(store.folder)], stdout=subprocess.PIPE, text=True)
        assert waiter.stdout.readline() == "absent\n"
        time.sleep(0.3)
        store.put(wanted, TENSORS)
    assert waiter.communicate(timeout=600)[0] == "found\n"


def test_whoever_will_not_wait_is_told_who_holds_it(store, tmp_path):
    holder = "import sys\nfrom editcore.assets.identity import Identity\nfrom editcore.assets.store import AssetStore\n"
    holder += 'with AssetStore(sys.argv[1]).lock(Identity("k", "o", "r")):\n    print("held", flush=True); input()\n'
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ConflictError, match="another process"), store.lock(Identity("k", "o", "r"), timeout=0.1):
        pass
    process.communicate("\n", timeout=600)
    with store.lock(Identity("k", "o", "r"), timeout=600):
        pass


def test_importing_the_store_imports_no_torch():
    code = "import sys, editcore.assets.store, editcore.assets.file; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_names_on_disk_say_the_kind(store):
    put = store.put(identity(), TENSORS)
    assert re.fullmatch(r"second_moment-[0-9a-f]{32}\.safetensors", Path(put.path).name)
