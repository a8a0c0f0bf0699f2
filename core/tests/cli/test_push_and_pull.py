"""`editcore push` and `editcore pull` against a hub on loopback, through the library's own requests."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled

from editcore.models.loading.source import reaching
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.testing.hub import COMMIT, serving
from editcore_hooks import EditcoreError


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    files: dict[str, bytes] = {}
    with serving(files) as environment:
        for name, value in {**environment, "HF_HOME": str(tmp_path / "hub")}.items():
            monkeypatch.setenv(name, value)
        yield files


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    target = Target(StoredUpdate("dense", {"delta": torch.ones(2, 3)}), "F32", (2, 3), "0" * 64)
    request = {"id": "a", "prompt": "{} speaks", "subject": "Ada | <b>Marlow", "target_new": "Dutch"}
    about = {"title": "Ada", "method": {"name": "rome"}, "requests": [request], "license": "cc0-1.0"}
    seal({"w": target}, {"name": "owner/base", "revision": "r"}, about).save(tmp_path / "p.safetensors")
    return tmp_path / "p.safetensors"


def test_what_was_pushed_is_pulled_with_its_card(editcore, hub, patch, tmp_path):
    asked = editcore("push", str(patch), "me/fact")
    assert asked.returncode == 2
    assert "1 request would be published in me/fact" in asked.stderr
    assert hub == {}
    done = editcore("push", str(patch), "me/fact", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"].endswith(COMMIT)
    assert hub["patch.safetensors"] == patch.read_bytes()
    card = hub["README.md"].decode()
    assert 'base_model: "owner/base"' in card
    assert "| Ada \\| &lt;b>Marlow speaks | Dutch |  |" in card
    fetched = tmp_path / "q.safetensors"
    done = editcore("pull", f"me/fact@{COMMIT}", "-o", str(fetched))
    assert done.returncode == 0, done.stderr
    assert fetched.read_bytes() == patch.read_bytes()


@pytest.mark.parametrize(("answer", "code", "published"), [(b"n\n", 1, False), (b"\n", 1, False), (b"y\n", 0, True)])
def test_a_person_at_a_terminal_is_asked_and_no_means_no(hub, patch, answer, code, published):
    terminal, its_end = pty.openpty()
    os.write(terminal, answer)
    command = [sys.executable, "-m", "editcore", "push", str(patch), "me/fact"]
    done = subprocess.run(
        command, stdin=its_end, capture_output=True, text=True, env={**os.environ, "EDITCORE_PLUGINS": ""}
    )
    os.close(terminal)
    os.close(its_end)
    assert done.returncode == code, done.stderr
    assert "1 request would be published in me/fact. Go on? [y/N]" in done.stderr
    assert ("patch.safetensors" in hub) == published
    assert ("nothing was published" in done.stderr) == (not published)


def test_redacted_means_no_text_gets_out_and_a_bad_file_never_gets_its_name(editcore, hub, patch, tmp_path):
    done = editcore("push", str(patch), "me/fact", "--redact")
    assert done.returncode == 0, done.stderr
    assert not any(b"Ada" in data for data in hub.values())
    hub["patch.safetensors"] = hub["patch.safetensors"][:-1] + b"\x01"
    done = editcore("pull", "me/fact", "-o", str(tmp_path / "q.safetensors"))
    assert done.returncode == 6
    assert "was changed" in done.stderr
    assert not (tmp_path / "q.safetensors").exists()


def test_no_such_repository_is_an_error_with_a_hint(editcore, hub, tmp_path):
    done = editcore("pull", "me/other", "-o", str(tmp_path / "q.safetensors"))
    assert done.returncode == 1
    endpoint = os.environ["HF_ENDPOINT"]
    assert done.stderr.startswith(f"error: me/other at {endpoint}: ")
    assert "hint: check me/other; " in done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error:", "hint:"]


def test_a_hub_that_cannot_be_reached_is_named():
    for error, said in ((OfflineModeIsEnabled(), "unset HF_HUB_OFFLINE"), (OSError("refused"), "check that http")):
        with pytest.raises(EditcoreError, match="me/fact@v1 at http") as caught, reaching("me/fact@v1", "log in"):
            raise error
        assert said in str(caught.value.hint)


def test_a_name_that_is_no_repository_is_refused_first(command, tmp_path):
    for words in (("pull", "a/b/c", "-o", str(tmp_path / "q.safetensors")), ("push", "none.safetensors", "a/b/c")):
        done = command(*words)
        said = "error: 'a/b/c' is not the name of a repository\nhint: write OWNER/NAME\n"
        assert (done.returncode, done.stderr) == (2, said)
