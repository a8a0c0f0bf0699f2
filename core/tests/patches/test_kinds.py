"""A kind of patch owns itself: the host asks it for its check, its words, its differences and its folding."""

import json
from pathlib import Path

import pytest
import torch

from editcore.applying.folding import fold_to_copy
from editcore.patches.change.plan import plan_change
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.compare.diff import diff
from editcore.patches.exchange.card import card
from editcore.patches.file import kinds
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import seal
from editcore.plugins.registry import Registry
from editcore.testing.tiny import tiny_model
from editcore_hooks import (
    CardLines,
    ConflictError,
    EditcoreError,
    PatchKind,
    Payload,
    PluginError,
    RefusedFileError,
    UsageError,
    hookimpl,
)


class Notes(PatchKind):
    """Keeps notes beside the model; folded, they are a file of the folder."""

    name = "toy.notes"
    unapplied = "notes are no weights"

    def check(self, core, tensors=None):
        if not isinstance(core["payload"]["data"].get("text"), str):
            return "it has no text"
        return "its weight is below zero" if tensors is not None and tensors["payload/weight"].item() < 0 else None

    def describe(self, patch):
        return {"text": patch.core["payload"]["data"]["text"]}

    def fold(self, folder, patches, architectures):
        (folder / "notes.json").write_text(json.dumps([patch.core["payload"]["data"]["text"] for patch in patches]))
        return {"notes": len(patches)}

    def card(self, patch, file_name):
        return CardLines("A note.", (f"read {file_name}",))


class Hidden(PatchKind):
    name = "toy.hidden"


class Stumbling(PatchKind):
    name = "toy.stumbling"

    def check(self, core, tensors=None):
        raise KeyError("entries")


class Plugin:
    @hookimpl
    def editcore_register_patch_kinds(self):
        return [Notes, Hidden, Stumbling]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Registry:
    plugins = Registry.of(Plugin())
    monkeypatch.setattr("editcore.plugins.registry.registry", lambda: plugins)
    return plugins


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("tiny") / "model", n_layers=1)


def sealed(folder: Path, kind: str = "toy.notes", *, weight: float = 1.0, **data: object) -> Patch:
    payload = Payload(kind, data, {"weight": torch.tensor([weight])})
    return seal({}, base_identity(Checkpoint.open(folder), "tiny"), {}, kind="memory", payload=payload)


def test_its_check_is_asked_when_a_patch_is_sealed_and_when_one_is_read(folder, tmp_path, monkeypatch):
    with pytest.raises(PluginError, match="it has no text"):
        sealed(folder, words="x")
    with pytest.raises(EditcoreError, match="its weight is below zero"):
        sealed(folder, text="x", weight=-1.0)
    monkeypatch.setattr(Notes, "check", PatchKind.check)
    paths = {"no text": tmp_path / "a.safetensors", "below zero": tmp_path / "b.safetensors"}
    sealed(folder, words="x").save(paths["no text"])
    sealed(folder, text="x", weight=-1.0).save(paths["below zero"])
    monkeypatch.undo()
    monkeypatch.setattr("editcore.plugins.registry.registry", lambda: Registry.of(Plugin()))
    Patch.read_header(paths["below zero"])  # no tensor is read
    for fault, path in paths.items():
        with pytest.raises(RefusedFileError, match=fault):
            Patch.load(path)


def test_a_check_that_fails_refuses_the_patch(folder):
    with pytest.raises(PluginError, match=r"toy\.stumbling cannot check it: KeyError: 'entries'"):
        sealed(folder, "toy.stumbling")


def test_a_patch_whose_owner_is_not_installed_is_read_as_it_is(folder, tmp_path):
    sealed(folder, "toy.unknown").save(tmp_path / "a.safetensors")
    assert kinds.owner_of(Patch.load(tmp_path / "a.safetensors").core, {}) is None


def test_it_folds_its_patches_and_one_that_cannot_is_refused(folder, tmp_path, known):
    patches = [sealed(folder, text="one"), sealed(folder, text="two")]
    before = file_sha256(folder / "model.safetensors")
    assert fold_to_copy(folder, tmp_path / "out", patches, known) == {"notes": 2}
    assert json.loads((tmp_path / "out" / "notes.json").read_text()) == ["one", "two"]
    assert file_sha256(tmp_path / "out" / "model.safetensors") == before
    with pytest.raises(UsageError, match=r"toy\.hidden: patches of this kind cannot be folded into weights"):
        fold_to_copy(folder, tmp_path / "other", [*patches, sealed(folder, "toy.hidden")], known)
    with pytest.raises(PluginError, match=r"of kind toy\.unknown, which is not installed \(install its plugin"):
        fold_to_copy(folder, tmp_path / "other", [sealed(folder, "toy.unknown")], known)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("kind", "why", "hint"),
    [
        ("toy.notes", "notes are no weights", "fold it into one"),
        ("toy.hidden", "a plain load of the folder would silently go without it", "--runtime"),
        ("toy.unknown", "a plain load of the folder would silently go without it", "--runtime"),
    ],
)
def test_it_says_why_it_is_not_written_into_a_folder(folder, kind, why, hint):
    with pytest.raises(ConflictError) as caught:
        plan_change(Checkpoint.open(folder), [sealed(folder, kind, text="x")], ())
    assert caught.value.message.endswith(why)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_it_says_what_its_card_says(folder):
    patch = sealed(folder, text="x")
    text = card(patch, patch.patch_id, "note.safetensors")
    assert "A note." in text
    assert "read note.safetensors" in text
    assert "editcore apply" not in card(sealed(folder, "toy.unknown"), patch.patch_id, "x.safetensors")


@pytest.mark.parametrize(
    ("distribution", "command"),
    [("editcore-toy", "pip install editcore editcore-toy"), ("x; rm -r .", "pip install editcore"), (None, None)],
)
def test_its_card_installs_its_plugin_and_says_where_the_edit_is(folder, distribution, command):
    about = {} if distribution is None else {"method": {"name": "toy", "distribution": distribution}}
    payload = Payload("toy.notes", {"text": "x"}, {"weight": torch.ones(1)})
    patch = seal({}, base_identity(Checkpoint.open(folder), "tiny"), about, kind="memory", payload=payload)
    lines = card(patch, patch.patch_id, "note.safetensors").splitlines()
    assert (command or "pip install editcore") in lines
    assert lines[-1].startswith("The texts and vectors of this patch hold what was asked for")


def test_two_patches_of_one_kind_differ_by_what_it_says(folder, tmp_path):
    for text in ("one", "two"):
        sealed(folder, text=text).save(tmp_path / f"{text}.safetensors")
    found = {
        one.field: (one.a, one.b) for one in diff(tmp_path / "one.safetensors", tmp_path / "two.safetensors").manifest
    }
    assert found["toy.notes.text"] == ("one", "two")
