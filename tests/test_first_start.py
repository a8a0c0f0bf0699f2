"""A first edit through the command line, with no settings at all, on a folder that was never seen."""

import json
import shutil
from pathlib import Path

import pytest

from editcore.cli import main
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.testing.tiny import tiny_model
from editcore.tuning import task
from editcore.tuning import tune as tuning

ADA = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot")


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, few facts, and defaults that hold, so that nothing is searched by the clock."""
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(task, "HOLDS_SCORE", -1.0)
    monkeypatch.setattr(task, "HOLDS_TOOK", 0.0)
    monkeypatch.setattr(tuning.tune, "__kwdefaults__", {**tuning.tune.__kwdefaults__, "facts": 8})


@pytest.fixture
def model(llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def test_an_edit_without_settings_checks_the_defaults_says_so_and_the_bytes_come_back(
    unseen: None, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, patch = model / "model.safetensors", tmp_path / "ada.safetensors"
    before = file_sha256(weights)
    assert call("edit", model, *ADA, "-o", patch, "--allow-failed", "--json") == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert made["settings"] == "profile default"
    for words in ("trying the default settings of rome on facts that model states: about", "the default settings hold"):
        assert words in said.err
    (row,) = made["patches"]
    assert row["p_target"][0]["after"] > row["p_target"][0]["before"]
    assert call("inspect", patch) == 0
    assert "settings  profile default (" in capsys.readouterr().out
    assert call("apply", patch, "--model", model, "--in-place") == 0
    assert file_sha256(weights) != before
    assert call("revert", row["id"], "--model", model) == 0
    assert file_sha256(weights) == before

    capsys.readouterr()
    assert call("tune", model, "--list", "--json") == 0
    (kept,) = json.loads(capsys.readouterr().out)
    assert (kept["method"], kept["name"], kept["stopped"]) == ("rome", "default", False)
    assert call("tune", model, "--forget", "default") == 0
    assert call("tune", model, "--list") == 0
    assert "no profile of model yet" in capsys.readouterr().err


def test_a_preset_is_named_and_so_is_what_would_measure(
    unseen: None, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from editcore.patches.file.patch import Patch
    from editcore_rome.hooks import Rome

    shape = {"layer": 0, "v_steps": 2, "context_count": 1, "mom2_tokens": 500}
    monkeypatch.setattr(Rome, "preset", classmethod(lambda cls, model: shape))
    patch = tmp_path / "ada.safetensors"
    assert call("edit", model, *ADA, "-o", patch, "--allow-failed") == 0
    said = capsys.readouterr().err
    assert f"settings: preset own; to find them on the model itself: editcore tune {model} --method" in said
    assert "did not take" in said
    assert Patch.read_header(patch).about["method"]["preset"] == "own"
    assert call("inspect", patch) == 0
    assert "settings  preset own" in capsys.readouterr().out


def test_a_model_that_shows_no_facts_is_edited_with_the_defaults_and_said_what_to_do(
    unseen: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_model("llama", tmp_path / "random", n_layers=4)
    assert call("edit", folder, *ADA, "-o", tmp_path / "ada.safetensors", "--allow-failed") == 0
    error = capsys.readouterr().err
    assert "the default settings of rome are used" in error
    assert f"editcore tune {folder} --method rome --cases FILE" in error
    assert "--no-tune" in error
