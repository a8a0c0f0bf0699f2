"""Patches beside the weights of a folder: put on, loaded, listed, taken off, and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import editcore
from core.tests.session.remembering import Remembered, open_with, patch_for
from editcore.applying.runtime import apply_runtime
from editcore.facade import load_model
from editcore.patches.change.copying import copy_checkpoint
from editcore.patches.change.dependents import computed_elsewhere
from editcore.patches.change.runtime import change_runtime, contradictions
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.listing import runtime_rows
from editcore.patches.checkpoint.runtime import RUNTIME, runtime_ids
from editcore.patches.compare.verification import verify
from editcore.patches.file.sealing import seal
from editcore.testing.tiny import tiny_model
from editcore_hooks import ConflictError, EditcoreError, Payload, PluginError, RefusedFileError, WrongBaseError

ROWS = ((5, 9, 14, 7), (8, 3, 12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model("llama", tmp_path / "model")


def patches(folder: Path) -> list[editcore.Patch]:
    session = open_with(folder)
    return [patch_for(session, row, seed=seed) for seed, row in enumerate(ROWS)]


def said(model: Any, row: Any) -> list[int]:
    found = model.generate(torch.tensor([row]), max_new_tokens=5, do_sample=False, eos_token_id=None, pad_token_id=0)
    ids: list[int] = found[0].tolist()
    return ids


def registry() -> Any:
    from types import ModuleType

    from editcore.plugins.registry import Registry
    from editcore_hooks import hookimpl

    module = ModuleType("toy")
    module.editcore_register_patch_kinds = hookimpl(  # type: ignore[attr-defined]
        lambda: [Remembered], specname="editcore_register_patch_kinds"
    )
    return Registry.of(module)


def test_a_folder_is_loaded_with_what_it_carries(folder: Path, tmp_path: Path) -> None:
    one, two = patches(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    before = [said(plain, row) for row in ROWS]
    session = open_with(folder)
    with session.patched(one, two):
        edited = [said(session.model, row) for row in ROWS]
    assert apply_runtime(Checkpoint.open(folder), [one, two], tmp_path / "out") == (one.patch_id, two.patch_id)
    model, tokenizer = load_model(tmp_path / "out", registry_=registry())
    assert [said(model, row) for row in ROWS] == edited != before
    assert len(tokenizer) > 0
    assert [said(AutoModelForCausalLM.from_pretrained(tmp_path / "out"), row) for row in ROWS] == before
    assert "unedited" in (tmp_path / "out" / RUNTIME / "README.md").read_text()
    assert not (folder / RUNTIME).exists()


def test_each_is_taken_off_and_with_the_last_nothing_is_left(folder: Path) -> None:
    one, two = patches(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    apply_runtime(Checkpoint.open(folder), [one, two])
    assert [row.id for row in runtime_rows(Checkpoint.open(folder))] == [one.patch_id, two.patch_id]
    assert change_runtime(folder, removed=[one.patch_id]) == (two.patch_id,)
    session = editcore.open(folder, registry_=registry())
    assert session.live.ids == (two.patch_id,)
    with session.at_base():
        assert session.live.memories._owned == {}
    with pytest.raises(ConflictError, match="one of the folder"):
        session.live.remove(two.patch_id)
    assert change_runtime(folder, removed=[two.patch_id]) == ()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_copy_keeps_them(folder: Path, tmp_path: Path) -> None:
    apply_runtime(Checkpoint.open(folder), patches(folder))
    copy_checkpoint(folder, tmp_path / "copy")
    assert runtime_ids(tmp_path / "copy") == runtime_ids(folder)


def test_what_does_not_belong_there_is_refused_and_nothing_written(folder: Path, tmp_path: Path) -> None:
    one, _ = patches(folder)
    other = tiny_model("llama", tmp_path / "other", seed=1)
    with pytest.raises(WrongBaseError):
        apply_runtime(Checkpoint.open(other), [one])
    assert not (other / RUNTIME).exists()
    apply_runtime(Checkpoint.open(folder), [one])
    with pytest.raises(ConflictError, match="applied already"):
        apply_runtime(Checkpoint.open(folder), [one])
    with pytest.raises(PluginError, match=r"toy\.one"):
        editcore.open(folder)


@pytest.mark.parametrize(
    ("data", "cut", "message"),
    [
        ({"reads": [99, "decoder"], "acts": [99, "decoder"]}, 0, "there is no layer 99"),
        ({"reads": [1, "encoder"], "acts": [1, "encoder"]}, 0, "one stack, the decoder"),
        ({}, 1, r"width in of \d+ at decoder\.1\.mlp_out, and finds \d+"),
    ],
)
def test_places_that_the_model_does_not_have_are_refused(folder: Path, data: Any, cut: int, message: str) -> None:
    one, _ = patches(folder)
    parts = {"key": one.tensors["payload/key"][cut:].clone(), "value": one.tensors["payload/value"]}
    payload = Payload(str(one.payload_kind), {**one.core["payload"]["data"], **data}, parts)
    moved = seal({}, one.about["base"], {}, kind="memory", payload=payload)
    with pytest.raises(WrongBaseError, match=message):
        apply_runtime(Checkpoint.open(folder), [moved], plugins=registry())
    assert not (folder / RUNTIME).exists()
    with pytest.raises(WrongBaseError, match=message):
        open_with(folder).apply(moved)


def test_verify_reads_the_patches_beside_the_weights(folder: Path) -> None:
    one, two = patches(folder)
    apply_runtime(Checkpoint.open(folder), [one, two], plugins=registry())
    found = verify(folder)
    assert found.problems == ()
    assert [name for name in found.checked if name.endswith("payload/key")] == [
        f"{patch.patch_id}.safetensors/payload/key" for patch in (one, two)
    ]
    path = folder / RUNTIME / f"{one.patch_id}.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "was changed" in verify(folder).problems[0].message
    path.write_bytes((folder / RUNTIME / f"{two.patch_id}.safetensors").read_bytes())
    assert "holds another patch" in verify(folder).problems[0].message


def test_verify_compares_a_patch_with_its_base(folder: Path, tmp_path: Path) -> None:
    one, _ = patches(folder)
    one.save(tmp_path / "one.safetensors")
    assert verify(tmp_path / "one.safetensors", folder).problems == ()
    with pytest.raises(WrongBaseError):
        verify(tmp_path / "one.safetensors", tiny_model("llama", tmp_path / "other", seed=1))


def test_another_tokenizer_is_refused(folder: Path) -> None:
    apply_runtime(Checkpoint.open(folder), patches(folder))
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalizer": {"type": "Lowercase"}}))
    with pytest.raises(WrongBaseError, match="another tokenizer"):
        editcore.open(folder, registry_=registry())


@pytest.mark.parametrize(
    "damage", ["[]", "{", '{"format": "editcore.runtime", "format_version": "1.0", "patches": ["../x"]}']
)
def test_a_damaged_list_is_refused(folder: Path, damage: str) -> None:
    apply_runtime(Checkpoint.open(folder), patches(folder))
    (folder / RUNTIME / "stack.json").write_text(damage)
    with pytest.raises(RefusedFileError):
        editcore.open(folder, registry_=registry())


def test_a_patch_that_is_missing_or_another_is_refused(folder: Path) -> None:
    one, two = patches(folder)
    apply_runtime(Checkpoint.open(folder), [one, two])
    path = folder / RUNTIME / f"{one.patch_id}.safetensors"
    kept = path.read_bytes()
    path.write_bytes((folder / RUNTIME / f"{two.patch_id}.safetensors").read_bytes())
    with pytest.raises(RefusedFileError, match="instead"):
        editcore.open(folder, registry_=registry())
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(RefusedFileError):
        editcore.open(folder, registry_=registry())
    path.unlink()
    with pytest.raises(EditcoreError):
        editcore.open(folder, registry_=registry())


def test_a_patch_beside_the_weights_that_was_fitted_to_one_that_goes_is_named(folder: Path) -> None:
    one, two = patches(folder)
    fitted = seal(
        {}, two.about["base"], {**two.about, "computed_on_patches": [one.patch_id]}, kind="memory",
        payload=Payload(
            str(two.payload_kind),
            dict(two.core["payload"]["data"]),
            {name.removeprefix("payload/"): tensor for name, tensor in two.tensors.items()},
        ),
    )  # fmt: skip
    apply_runtime(Checkpoint.open(folder), [one, fitted])
    (line,) = computed_elsewhere(Checkpoint.open(folder), [one.patch_id])
    assert "was computed on the model with" in line
    assert computed_elsewhere(Checkpoint.open(folder), [fitted.patch_id]) == ()


def test_two_answers_to_one_prompt_are_found(folder: Path) -> None:
    one, two = (
        patch.with_about(requests=[{"prompt": "{} is in", "subject": "Rome", "target_new": target}])
        for patch, target in zip(patches(folder), ("Italy", "Spain"), strict=True)
    )
    assert contradictions([one, two]) == [("Rome is in", one.patch_id, two.patch_id)]
    assert contradictions([one, one]) == []
