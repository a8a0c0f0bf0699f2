"""`edit --quick` tries no settings, and says what it leaves out."""

from pathlib import Path

import pytest

from editcore.cli import main
from editcore.tuning import tune as tuning

FACT = ["--prompt", "{} lives in", "--subject", "Ada Marlow", "--target", "Oslo"]


def test_a_quick_edit_does_not_tune_and_names_its_settings_and_the_time_not_spent(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tuning, "tune", lambda *_, **__: pytest.fail("it tuned"))
    patch = tmp_path / "oslo.safetensors"
    command = ["edit", str(llama_folder), *FACT, "--method", "ft-m", "--allow-failed", "-o", str(patch)]
    assert main([*command, "--quick"]) == 0
    said = capsys.readouterr().err
    assert "quick: ft-m edits with its default settings and a layer by relative depth" in said
    assert "not spent: about" in said
    assert patch.exists()
    assert main([*command, "--no-tune", "--overwrite"]) == 0
    assert "not spent" not in capsys.readouterr().err


def test_a_profile_and_quick_exclude_each_other(llama_folder: Path, tmp_path: Path) -> None:
    patch = str(tmp_path / "oslo.safetensors")
    assert main(["edit", str(llama_folder), *FACT, "--quick", "--profile", "default", "-o", patch]) == 2
    assert not Path(patch).exists()
