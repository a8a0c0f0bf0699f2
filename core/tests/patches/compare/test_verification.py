"""`verify` finds every kind of change, and names file and tensor."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.cli import main
from editcore.patches.arithmetic import rebuilding
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.verification import verify
from editcore.patches.file.patch import Patch
from editcore.storage.tensors import blob_of
from editcore_hooks import RefusedFileError

Folder = Callable[..., Path]
Make = Callable[..., Patch]
KEY, OTHER = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.up_proj.weight"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.fixture(params=[False, True], ids=["single", "sharded"])
def patched(request: pytest.FixtureRequest, folder: Folder, make_patch: Make) -> Path:
    root = folder("llama", torch.bfloat16, request.param)
    apply_on_disk(root, [make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)], strict=True)
    return root


def test_a_sound_folder_has_no_problems(patched: Path) -> None:
    result = verify(patched)
    assert (result.checked, result.problems, result.notices) == ((KEY,), (), ())
    result.ensure()


def test_a_plain_folder_has_nothing_to_compare(folder: Folder) -> None:
    assert verify(folder("gpt2")).checked == ()


def test_a_changed_result_is_named(patched: Path) -> None:
    checkpoint = Checkpoint.open(patched)
    path = checkpoint.file(KEY)
    flip(path, checkpoint.entries[KEY].start)
    (problem,) = verify(patched).problems
    assert (problem.file, problem.tensor) == (path.name, KEY)
    with pytest.raises(RefusedFileError, match=f"{KEY} in .* was changed") as caught:
        verify(patched).ensure()
    assert caught.value.exit_code == 6


def flip_other(root: Path) -> Path:
    """One bit of a tensor that no patch touches, so that size and time of its file stay."""
    checkpoint = Checkpoint.open(root)
    path = checkpoint.file(OTHER)
    stamp = path.stat().st_mtime_ns
    flip(path, checkpoint.entries[OTHER].start)
    os.utime(path, ns=(stamp, stamp))
    return path


def test_a_changed_tensor_that_no_patch_touches_is_named_where_all_were_hashed(patched: Path) -> None:
    path = flip_other(patched)
    (problem,) = verify(patched).problems
    assert (problem.file, problem.tensor) == (path.name, OTHER)
    assert "no patch touches" in problem.message


def test_after_a_plain_apply_the_root_in_the_patches_tells_and_the_base_names(folder: Folder, make_patch: Make) -> None:
    for sharded in (False, True):
        base, root = folder("llama", torch.bfloat16, sharded), folder("llama", torch.bfloat16, sharded)
        apply_on_disk(root, [make_patch(root, KEY)])
        sound = verify(root)
        assert (sound.problems, sound.untouched.left) == ((), ())
        assert len(sound.untouched.compared) == len(Checkpoint.open(root).entries) - 1
        path = flip_other(root)
        (problem,) = verify(root).problems
        assert "of the base that patch" in problem.message
        assert f"verify {root} --base BASE" in problem.hint
        (problem,) = verify(root, base).problems
        assert (problem.file, problem.tensor) == (path.name, OTHER)
        flip_other(root)
        assert verify(root, base).problems == ()


def test_without_any_root_it_is_said_how_many_were_not_compared(
    folder: Folder, make_patch: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("llama")
    patch = make_patch(root, KEY)
    apply_on_disk(root, [patch.with_about(base={"name": "somewhere"})])
    others = verify(root).untouched
    assert (others.compared, len(others.left)) == ((), len(Checkpoint.open(root).entries) - 1)
    assert main(["verify", str(root)]) == 0
    assert f"0 compared, {len(others.left)} not compared" in capsys.readouterr().out


def test_another_base_is_told_by_the_originals_too(folder: Folder, make_patch: Make) -> None:
    base, root = folder("llama"), folder("llama")
    apply_on_disk(root, [make_patch(root, KEY)])
    opened = Checkpoint.open(base)
    flip(opened.file(KEY), opened.entries[KEY].start)
    (problem,) = verify(root, base).problems
    assert problem.tensor == KEY
    assert "patched from another tensor" in problem.message


def test_a_changed_original_is_named(patched: Path) -> None:
    (original,) = (patched / ".editcore" / "originals").glob("*.raw")
    flip(original, 0)
    (problem,) = verify(patched).problems
    assert problem.tensor == KEY
    assert "original" in problem.message


def test_a_changed_patch_is_named(patched: Path) -> None:
    path = sorted((patched / ".editcore" / "patches").iterdir())[0]
    flip(path, -1)
    (problem,) = verify(patched).problems
    assert problem.file == path.name


def test_two_patches_that_changed_places_are_named(patched: Path) -> None:
    one, two = sorted((patched / ".editcore" / "patches").iterdir())
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    assert {problem.file for problem in verify(patched).problems} == {one.name, two.name}


def elsewhere(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], object]) -> None:
    """A machine whose results are changed."""
    original = rebuilding.rebuild_in_place

    def other_machine(base: torch.Tensor, *rest: object) -> torch.Tensor:
        result = original(base, *rest)  # type: ignore[arg-type]
        change(result)
        return result

    monkeypatch.setattr(rebuilding, "rebuild_in_place", other_machine)


def up(steps: int) -> Callable[[torch.Tensor], object]:
    """One element of a bfloat16 tensor moved by units in the last place."""
    return lambda result: result.view(torch.int16)[0, 0].add_(steps)


def test_another_machine_s_rounding_is_a_notice_with_its_size(patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch, up(1))
    result = verify(patched)
    assert result.problems == ()
    assert re.search(r"computes 1 of 384 elements differently, by .* at most", result.notices[0])


def test_more_than_rounding_is_a_problem(patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch, up(2))
    (problem,) = verify(patched).problems
    assert problem.tensor == KEY
    assert "1 of 384 elements differ by more than rounding" in problem.message


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf")])
def test_forged_weights_are_told_though_their_hash_is_recorded(patched: Path, value: float) -> None:
    opened = Checkpoint.open(patched)
    path, entry = opened.file(KEY), opened.entries[KEY]
    data = bytearray(path.read_bytes())
    data[entry.start : entry.end] = forged = blob_of(torch.full(entry.shape, value, dtype=torch.bfloat16)).data
    path.write_bytes(data)
    record = json.loads((patched / "editcore.json").read_text())
    record["targets"][KEY]["result_sha256"] = hashlib.sha256(forged).hexdigest()
    (patched / "editcore.json").write_text(json.dumps(record))
    (problem,) = verify(patched).problems
    assert (problem.file, problem.tensor) == (path.name, KEY)
    assert main(["verify", str(patched)]) == 6


def test_a_target_without_its_patches_is_refused(patched: Path) -> None:
    text = (patched / "editcore.json").read_text()
    both = json.loads(text)["targets"][KEY]["patches"]
    one = dict([both.popitem()])
    for forged in ({}, one, {**one, next(iter(both)): 5}, {**one, next(iter(both)): "another name"}):
        record = json.loads(text)
        record["targets"][KEY]["patches"] = forged
        (patched / "editcore.json").write_text(json.dumps(record))
        assert main(["verify", str(patched)]) == 6
        assert main(["revert", next(iter(one)), "--model", str(patched)]) == 6
    record["targets"][KEY] |= {"patches": json.loads(text)["targets"][KEY]["patches"], "base_sha256": "0" * 64}
    (patched / "editcore.json").write_text(json.dumps(record))
    assert "another original" in verify(patched).problems[0].message


def test_a_patch_file_is_verified_too(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    make_patch(folder("llama"), KEY).save(path)
    assert verify(path).checked == (f"{KEY}/left", f"{KEY}/right")
    flip(path, -1)
    (problem,) = verify(path).problems
    assert (problem.file, "was changed" in problem.message) == ("p.safetensors", True)
    (problem,) = verify(tmp_path / "missing.safetensors").problems
    assert "No such file" in problem.message
