"""`editcore train`: from cases to an asset that `edit` finds, pushed and pulled, and refused where it does not fit."""

import contextlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from editcore.cases.writing import case_to_json
from editcore.cli import main
from editcore.testing.hub import serving
from editcore.testing.training import taught_cases

Run = Callable[..., subprocess.CompletedProcess[str]]
SHORT = ["--steps", "2", "--every", "2", "--batch", "4", "--validation", "4", "--set", "rank=8", "--set", "layers=[1]"]
EDIT = ["--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot", "--allow-failed"]


@pytest.fixture
def editcore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in this process, with a cache of its own."""
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps(case_to_json(case)) + "\n" for case in taught_cases()), encoding="utf-8")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """A hub that serves in this process; the library read its environment when it was imported."""
    files: dict[str, bytes] = {}
    with serving(files) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        address = environment["HF_ENDPOINT"]
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        close_session()
        yield files
    close_session()


def test_what_is_trained_is_found_pushed_pulled_and_used(editcore, data, hub, llama_folder, gpt2_folder, tmp_path):
    pytest.importorskip("matplotlib")
    model, asset, picture = str(llama_folder), tmp_path / "mend.safetensors", tmp_path / "curve.png"
    untrained = editcore("edit", model, "--method", "mend", *EDIT, "-o", str(tmp_path / "none.safetensors"))
    assert untrained.returncode == 2
    assert "editcore train" in untrained.stderr
    train = ["train", model, "--method", "mend", "--data", str(data), *SHORT]
    done = editcore(*train, "-o", str(asset), "--picture", str(picture), "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["curve"][-1]["step"] == 2
    assert {"edit", "rephrase", "local", "loss"} == about["curve"][-1]["figures"].keys()
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = editcore("edit", model, "--method", "mend", *EDIT, "-o", str(tmp_path / "found.safetensors"))
    assert done.returncode == 0, done.stderr
    assert editcore("push", str(asset), "me/fact").returncode == 0
    assert hub["trained.safetensors"] == asset.read_bytes()
    assert "weights root of the base" in hub["README.md"].decode()
    pulled = tmp_path / "pulled.safetensors"
    done = editcore("pull", "me/fact", "-o", str(pulled))
    assert done.returncode == 0, done.stderr
    assert "--set editor=" in done.stderr
    assert pulled.read_bytes() == asset.read_bytes()
    named = ["--method", "mend", "--set", f"editor={pulled}", *EDIT]
    done = editcore("edit", model, *named, "-o", str(tmp_path / "named.safetensors"))
    assert done.returncode == 0, done.stderr
    refused = editcore("edit", str(gpt2_folder), *named, "-o", str(tmp_path / "other.safetensors"))
    assert refused.returncode == 3
    assert "another base" in refused.stderr


def test_a_changed_editor_is_not_pulled(editcore, hub, tmp_path):
    hub["trained.safetensors"] = b"\x08\0\0\0\0\0\0\0{}      "
    done = editcore("pull", "me/fact", "-o", str(tmp_path / "x.safetensors"))
    assert done.returncode != 0
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "rome"], "nothing to train"),
        (["--method", "mend", "--stop-on", "speed"], "no figure 'speed'"),
        (["--method", "mend", "--limit", "3"], "too few"),
        (["--method", "mend", "--set", "speed=1"], "speed"),
        (["--method", "mend", "-o", "x.gguf"], "gguf"),
        (["--method", "mend", "--picture", "x.gif"], ".png"),
    ],
)
def test_what_cannot_work_is_refused(editcore, data, llama_folder, more, message):
    done = editcore("train", str(llama_folder), "--data", str(data), *more)
    assert done.returncode == 2
    assert message in done.stderr
