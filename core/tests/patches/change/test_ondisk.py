"""Patching real folders: what plain from_pretrained loads, exact reversal, and refusals that change nothing."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from editcore.patches.arithmetic.rebuilding import rebuild, result_sha256
from editcore.patches.change import execution
from editcore.patches.change.conflicts import find_conflicts
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.change.plan import plan_change
from editcore.patches.checkpoint import folder as checkpoint
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import Stack, stack_hash
from editcore.patches.checkpoint.stored import stored_patch, stored_whole
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.storage import lock
from editcore.storage.tensors import tensor_of
from editcore_hooks import ConflictError, EditcoreError, Payload, RefusedFileError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]

GPT2 = ["transformer.h.0.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"]
LLAMA = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def loaded(folder: Path, key: str) -> torch.Tensor:
    """The parameter as plain transformers sees it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return dict(model.named_parameters())[key].detach()


def expected(base: torch.Tensor, key: str, *patches: Patch) -> torch.Tensor:
    """The rule of the format page, written once more and otherwise: factors multiplied whole."""
    total = base.double()
    for patch in sorted(patches, key=lambda patch: patch.patch_id):
        if f"{key}/left" in patch.tensors:
            left, right = patch.tensors[f"{key}/left"].double(), patch.tensors[f"{key}/right"].double()
            total = total + patch.scale * (left @ right)
    return total.float().to(base.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("family", "keys"), [("gpt2", GPT2), ("llama", LLAMA)])
def test_a_patched_folder_loads_plainly_and_comes_back_to_the_byte(
    folder: Folder, tree: Tree, make_patch: Make, family: str, keys: list[str], dtype: torch.dtype, sharded: bool
) -> None:
    root = folder(family, dtype, sharded)
    before, base = tree(root), {key: loaded(root, key) for key in keys}
    one, two = make_patch(root, keys[0], seed=1), make_patch(root, *keys, seed=2, scale=0.5)
    first = apply_on_disk(root, [one])
    assert torch.equal(loaded(root, keys[0]), expected(base[keys[0]], keys[0], one))
    assert torch.equal(loaded(root, keys[1]), base[keys[1]])
    both = apply_on_disk(root, [two])
    for key in keys:
        assert torch.equal(loaded(root, key), expected(base[key], key, one, two))
    assert (first.patch_ids, both.patch_ids) == ((one.patch_id,), (one.patch_id, two.patch_id))
    assert set(both.result_sha256) == set(keys)
    revert_on_disk(root, [one.patch_id])
    assert torch.equal(loaded(root, keys[0]), expected(base[keys[0]], keys[0], two))
    revert_on_disk(root, [two.patch_id])
    assert tree(root) == before


@pytest.mark.parametrize("form", ["low_rank", "dense", "sparse", "rows"])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_form_is_applied_and_reverted(
    folder: Folder, tree: Tree, make_patch: Make, form: str, transposed: bool
) -> None:
    root = folder("gpt2")
    before = tree(root)
    patch = make_patch(root, GPT2[0], form=form, transposed=transposed)
    old = loaded(root, GPT2[0])
    apply_on_disk(root, [patch])
    moved = (loaded(root, GPT2[0]).double() - old.double()).norm()
    assert float(moved) == pytest.approx(patch.delta_norms()[GPT2[0]], rel=1e-4)
    revert_on_disk(root, [patch.patch_id])
    assert tree(root) == before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 3), min_size=1, max_size=7), sharded=st.booleans())
def test_any_interleaving_ends_in_the_files_of_the_patches_present(
    saved: Folder, folder: Folder, tree: Tree, make_patch: Make, steps: list[int], sharded: bool
) -> None:
    source = saved("llama", torch.bfloat16, sharded)
    patches = [
        make_patch(source, LLAMA[0], seed=1),
        make_patch(source, *LLAMA, seed=2),
        make_patch(source, LLAMA[1], seed=3, form="dense"),
        make_patch(source, "model.embed_tokens.weight", seed=4, form="rows"),
    ]
    walked, direct = folder("llama", torch.bfloat16, sharded), folder("llama", torch.bfloat16, sharded)
    present: list[Patch] = []
    for step in steps:
        if patches[step] in present:
            present.remove(patches[step])
            revert_on_disk(walked, [patches[step].patch_id])
        else:
            present.append(patches[step])
            apply_on_disk(walked, [patches[step]])
    if present:
        apply_on_disk(direct, present[::-1])
    assert weights(tree(walked)) == weights(tree(direct))
    if not present:
        assert tree(walked) == tree(source)


def weights(hashes: dict[str, str]) -> dict[str, str]:
    """The files that a loader reads, and the kept originals."""
    return {name: value for name, value in hashes.items() if name.endswith((".safetensors", "index.json", ".raw"))}


def test_only_touched_shards_are_written(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("llama", torch.float32, True)
    checkpoint = Checkpoint.open(root)
    touched = checkpoint.file(LLAMA[0]).name
    before = {path.name: path.stat().st_ino for path in root.glob("*.safetensors")}
    patch = make_patch(root, LLAMA[0])
    apply_on_disk(root, [patch])
    after = {path.name: path.stat().st_ino for path in root.glob("*.safetensors")}
    new = f"{touched.removesuffix('.safetensors')}.editcore-{stack_hash([patch.patch_id])[:12]}.safetensors"
    assert set(after) - set(before) == {new}
    assert set(before) - set(after) == {touched}
    assert all(after[name] == before[name] for name in set(before) & set(after))


def test_permissions_of_the_weights_survive(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    (root / "model.safetensors").chmod(0o640)
    patch = make_patch(root, GPT2[0])
    apply_on_disk(root, [patch])
    assert (root / "model.safetensors").stat().st_mode & 0o777 == 0o640


def test_one_call_with_many_patches_equals_many_calls(folder: Folder, tree: Tree, make_patch: Make) -> None:
    at_once, one_by_one = folder("gpt2"), folder("gpt2")
    patches = [make_patch(at_once, *GPT2, seed=seed) for seed in range(3)]
    apply_on_disk(at_once, patches)
    for patch in reversed(patches):
        apply_on_disk(one_by_one, [patch])
    assert weights(tree(at_once)) == weights(tree(one_by_one))
    assert Checkpoint.open(at_once).stack.hash == Checkpoint.open(one_by_one).stack.hash
    assert Checkpoint.open(at_once).patch_ids == tuple(patch.patch_id for patch in patches)
    assert Checkpoint.open(one_by_one).patch_ids == tuple(patch.patch_id for patch in reversed(patches))


def test_the_sum_is_taken_by_ascending_id_whatever_the_order_of_commands(folder: Folder) -> None:
    # In float64, W + 1e20 - 1e20 + 1 is 1 and W + 1e20 + 1 - 1e20 is 0: here the order of the sum shows.
    checkpoint = Checkpoint.open(folder("gpt2"))
    entry = checkpoint.entries[GPT2[0]]
    patches = []
    for value in (1e20, -1e20, 1.0):
        update = StoredUpdate("dense", {"delta": torch.full(entry.shape, value)})
        target = Target(update, entry.dtype, entry.shape, checkpoint.base_sha256(GPT2[0]))
        patches.append(seal({GPT2[0]: target}, {}, {}))
    ascending = sorted(patches, key=lambda patch: patch.patch_id)
    base = tensor_of(entry.dtype, entry.shape, checkpoint.read(GPT2[0]))
    deltas = [patch.deltas(GPT2[0])[0] for patch in ascending]
    wanted = result_sha256(rebuild(base, deltas))
    assert {result_sha256(rebuild(base, list(order))) for order in permutations(deltas)} > {wanted}
    for order in permutations(patches):
        assert apply_on_disk(folder("gpt2"), order).result_sha256 == {GPT2[0]: wanted}
        one_by_one = folder("gpt2")
        for patch in order:
            applied = apply_on_disk(one_by_one, [patch])
        assert applied.result_sha256 == {GPT2[0]: wanted}


def test_the_base_of_a_patched_folder_is_still_known(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    plain = Checkpoint.open(root)
    root_before, bytes_before = plain.weights_root(), plain.read(GPT2[0])
    apply_on_disk(root, [make_patch(root, GPT2[0])])
    patched = Checkpoint.open(root)
    assert patched.weights_root() == root_before
    assert patched.read_base(GPT2[0]) == bytes_before
    assert patched.read(GPT2[0]) != bytes_before
    assert patched.base_sha256(GPT2[0]) != patched.sha256(GPT2[0])
    # A patch made while another is on is made for the same base.
    assert patched.stack.base == {"name": "tiny", "weights_root": None}
    apply_on_disk(root, [make_patch(root, GPT2[0], seed=5)], strict=True)
    assert Checkpoint.open(root).stack.base == {"name": "tiny", "weights_root": root_before}


def test_an_open_checkpoint_notices_that_its_files_were_replaced(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    stale = Checkpoint.open(root)
    apply_on_disk(root, [make_patch(root, GPT2[0])])
    with pytest.raises(ConflictError, match="was changed after it was opened"):
        stale.read(GPT2[0])


def test_a_plan_writes_nothing_and_counts_what_would_be_written(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("gpt2")
    before = tree(root)
    plan = plan_change(Checkpoint.open(root), [make_patch(root, GPT2[0])])
    assert tree(root) == before
    assert plan.changed == (GPT2[0],)
    assert plan.bytes_to_write == (root / "model.safetensors").stat().st_size + 64 * 16 * 4


def test_taking_away_what_a_later_edit_was_computed_on_is_said(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    one = make_patch(root, GPT2[0], seed=1)
    two = make_patch(root, GPT2[0], seed=2, about={"computed_on": stack_hash([one.patch_id])})
    apply_on_disk(root, [one, two])
    assert "measure it again" in revert_on_disk(root, [one.patch_id]).notices[0]
    assert revert_on_disk(root, [two.patch_id]).notices == ()


def test_bits_that_differ_from_those_recorded_elsewhere_are_said(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0], about={"result_sha256": {GPT2[0]: "0" * 64}})
    assert "other bits" in apply_on_disk(root, [patch]).notices[0]
    right = make_patch(root, GPT2[1])
    result = apply_on_disk(root, [right]).result_sha256[GPT2[1]]
    revert_on_disk(root, [right.patch_id])
    assert apply_on_disk(root, [right.with_about(result_sha256={GPT2[1]: result})]).notices == ()


# Refusals: each with its exit code, and proof that nothing on disk changed.


@pytest.fixture
def refused(tree: Tree) -> Callable[..., EditcoreError]:
    """Run something that must be refused with `code`, and see that `root` is as it was."""

    def run(root: Path, code: int, says: str, action: Callable[[], Any]) -> EditcoreError:
        before = tree(root)
        with pytest.raises(EditcoreError, match=says) as caught:
            action()
        assert caught.value.exit_code == code
        assert caught.value.hint
        assert "\n" not in str(caught.value)
        assert tree(root) == before
        return caught.value

    return run


Refused = Callable[..., EditcoreError]


@pytest.mark.parametrize("sharded", [False, True])
def test_a_wrong_base_is_refused_with_tensor_and_both_hashes(
    folder: Folder, make_patch: Make, refused: Refused, sharded: bool
) -> None:
    root = folder("llama", torch.float32, sharded)
    patch = make_patch(root, *LLAMA)
    checkpoint = Checkpoint.open(root)
    expected_sha = checkpoint.sha256(LLAMA[1])
    path, entry = checkpoint.file(LLAMA[1]), checkpoint.entries[LLAMA[1]]
    data = bytearray(path.read_bytes())
    data[entry.start] ^= 1
    path.write_bytes(data)
    error = refused(root, 3, LLAMA[1], lambda: apply_on_disk(root, [patch]))
    assert isinstance(error, WrongBaseError)
    assert expected_sha[:12] in error.message
    assert Checkpoint.open(root).sha256(LLAMA[1])[:12] in error.message
    assert "tiny" in str(error.hint)


def test_another_dtype_or_shape_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("llama", torch.bfloat16)
    patch = make_patch(folder("llama"), LLAMA[0])
    refused(root, 3, r"expected F32 \(16, 24\), found BF16 \(16, 24\)", lambda: apply_on_disk(root, [patch]))
    patch = make_patch(folder("gpt2"), GPT2[0])
    refused(root, 3, "has no tensor", lambda: apply_on_disk(root, [patch]))


def test_strict_asks_for_the_whole_base(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    checkpoint = Checkpoint.open(root)
    path, entry = checkpoint.file(GPT2[1]), checkpoint.entries[GPT2[1]]
    data = bytearray(path.read_bytes())
    data[entry.start] ^= 1
    path.write_bytes(data)
    refused(root, 3, "expected weights root", lambda: apply_on_disk(root, [patch], strict=True))
    apply_on_disk(root, [patch])


def test_a_patch_that_is_there_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    refused(root, 4, "applied already", lambda: apply_on_disk(root, [patch, patch]))
    apply_on_disk(root, [patch])
    refused(root, 4, "applied already", lambda: apply_on_disk(root, [patch.with_about(title="other")]))


def test_requirements_are_asked_for_and_kept(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    one = make_patch(root, GPT2[0], seed=1)
    two = make_patch(root, GPT2[0], seed=2, requires=[one.patch_id])
    refused(root, 4, f"requires {one.patch_id[:12]}", lambda: apply_on_disk(root, [two]))
    apply_on_disk(root, [two, one])
    refused(root, 4, rf"{two.patch_id[:12]} \(patch 2\) requires", lambda: revert_on_disk(root, [one.patch_id]))
    revert_on_disk(root, [one.patch_id, two.patch_id])
    assert not (root / ".editcore").exists()


def test_reverting_what_is_not_there_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    refused(root, 2, "not applied here", lambda: revert_on_disk(root, ["a" * 64]))
    patch = make_patch(root, GPT2[0])
    apply_on_disk(root, [patch])
    refused(root, 2, "too short for an id", lambda: revert_on_disk(root, [patch.patch_id[:3]]))
    revert_on_disk(root, [patch.patch_id[:8]])


def test_patches_of_other_kinds_are_refused_with_the_install_command(folder: Folder, refused: Refused) -> None:
    root = folder("gpt2")
    about = {"method": {"name": "grace", "distribution": "editcore-grace"}}
    patch = seal({}, {}, about, kind="memory", payload=Payload("codebook"))
    error = refused(root, 4, r"of kind memory \(codebook\)", lambda: apply_on_disk(root, [patch]))
    assert "pip install editcore-grace" in str(error.hint)


def test_a_file_changed_after_patching_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    one, two = make_patch(root, GPT2[0], seed=1), make_patch(root, GPT2[0], seed=2)
    apply_on_disk(root, [one])
    checkpoint = Checkpoint.open(root)
    path, entry = checkpoint.file(GPT2[0]), checkpoint.entries[GPT2[0]]
    data = bytearray(path.read_bytes())
    data[entry.start] ^= 1
    path.write_bytes(data)
    refused(root, 6, "was changed after it was patched", lambda: apply_on_disk(root, [two]))
    refused(root, 6, "was changed after it was patched", lambda: revert_on_disk(root, [one.patch_id]))


def test_a_damaged_original_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    apply_on_disk(root, [patch])
    (original,) = (root / ".editcore" / "originals").iterdir()
    original.write_bytes(original.read_bytes()[:-1] + b"x")
    refused(root, 6, "was changed", lambda: revert_on_disk(root, [patch.patch_id]))
    original.unlink()
    refused(root, 6, "is missing", lambda: revert_on_disk(root, [patch.patch_id]))


def test_a_damaged_stack_file_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    apply_on_disk(root, [patch])
    text = (root / "editcore.json").read_text()
    for broken in ("{}", "[]", text.replace(patch.patch_id, "0" * 64), text.replace("model.safetensors", "../x")):
        (root / "editcore.json").write_text(broken)
        refused(root, 6, "is damaged", lambda: Checkpoint.open(root))


def test_an_overflow_is_refused_and_rolled_back(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2", torch.float16)
    patch = make_patch(root, GPT2[0], form="dense", scale=1e9)
    said = rf"{GPT2[0]} \(patch {patch.patch_id[:12]}\) overflows F16"
    error = refused(root, 6, said, lambda: apply_on_disk(root, [patch]))
    assert "make the edit again" in str(error.hint)


def test_a_full_disk_changes_nothing(
    folder: Folder, make_patch: Make, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    root = folder("llama", torch.float32, True)
    patch = make_patch(root, *LLAMA)
    monkeypatch.setattr(execution, "splice", full)
    error = refused(root, 1, "No space left", lambda: apply_on_disk(root, [patch]))
    assert "nothing has changed" in str(error.hint)


def test_a_second_writer_is_refused_and_does_not_wait(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    with lock.writing(root):
        refused(root, 4, "another editcore is writing", lambda: apply_on_disk(root, [patch]))
    apply_on_disk(root, [patch])


def test_a_download_cache_is_read_but_never_written(
    folder: Folder, make_patch: Make, refused: Refused, tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    folder("gpt2").rename(snapshot)
    patch = make_patch(snapshot, GPT2[0])
    error = refused(snapshot, 6, "belongs to a download cache", lambda: apply_on_disk(snapshot, [patch]))
    assert "-o OUT" in str(error.hint)


def test_linked_weights_are_read_but_never_written(
    folder: Folder, make_patch: Make, refused: Refused, tmp_path: Path
) -> None:
    root = folder("gpt2")
    blob = tmp_path / "blob"
    (root / "model.safetensors").rename(blob)
    (root / "model.safetensors").symlink_to(blob)
    patch = make_patch(root, GPT2[0])
    error = refused(
        root, 6, f"model.safetensors of {root} is a link to {blob}, which", lambda: apply_on_disk(root, [patch])
    )
    assert "cp -rL" in str(error.hint)


def test_a_linked_record_is_not_followed(folder: Folder, make_patch: Make, refused: Refused, tmp_path: Path) -> None:
    root = folder("gpt2")
    patch = make_patch(root, GPT2[0])
    (tmp_path / "elsewhere").mkdir()
    (root / ".editcore").symlink_to(tmp_path / "elsewhere")
    refused(root, 6, "is a link", lambda: apply_on_disk(root, [patch]))


def test_a_file_in_the_way_of_a_new_shard_is_refused(folder: Folder, make_patch: Make, refused: Refused) -> None:
    root = folder("llama", torch.float32, True)
    patch = make_patch(root, LLAMA[0])
    name = Checkpoint.open(root).file(LLAMA[0]).name.removesuffix(".safetensors")
    (root / f"{name}.editcore-{stack_hash([patch.patch_id])[:12]}.safetensors").write_bytes(b"mine")
    refused(root, 4, "blocks the change", lambda: apply_on_disk(root, [patch]))


# A writer that is faster than a reader: the reader is told so, whatever it then misses.


@pytest.mark.parametrize("sharded", [False, True])
def test_a_commit_while_a_folder_is_being_opened_is_said(
    folder: Folder, make_patch: Make, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    root = folder("llama", torch.float32, sharded)
    patch = make_patch(root, *LLAMA)
    read = checkpoint.read_stack_file

    def overtaken(opened: Path) -> Stack:
        monkeypatch.setattr(checkpoint, "read_stack_file", read)
        apply_on_disk(root, [patch])
        return read(opened)

    monkeypatch.setattr(checkpoint, "read_stack_file", overtaken)
    with pytest.raises(ConflictError, match=r"was changed while it was read \(try again"):
        Checkpoint.open(root)
    assert Checkpoint.open(root).patch_ids == (patch.patch_id,)


def test_what_a_writer_took_away_meanwhile_is_no_damage(folder: Folder, make_patch: Make) -> None:
    root = folder("llama", torch.float32, True)
    one, two = make_patch(root, LLAMA[0], seed=1), make_patch(root, LLAMA[0], seed=2)
    apply_on_disk(root, [one])
    stale = Checkpoint.open(root)
    plan = plan_change(stale, [two])
    revert_on_disk(root, [one.patch_id])
    for action in (
        lambda: stored_patch(stale, one.patch_id),
        lambda: stored_whole(stale, one.patch_id),
        lambda: stale.read_base(LLAMA[0]),
        lambda: stale.read(LLAMA[0]),
        lambda: find_conflicts(plan),
    ):
        with pytest.raises(ConflictError, match="was changed"):
            action()


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        apply_on_disk(tmp_path / "missing", [])
    with pytest.raises(RefusedFileError):
        apply_on_disk(tmp_path, [])
