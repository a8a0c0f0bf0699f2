"""A command that cannot go on says what is wrong in the reader's words, and a next command that can be pasted."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest

import editcore.cli.inspect as inspecting
from editcore.models.loading.source import find
from editcore.patches.file.patch import Patch
from editcore_hooks import EditcoreError


@pytest.fixture
def flipped(tiny, fact_patch) -> Path:
    """A patch whose last byte is another."""
    path = fact_patch(tiny, "p")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def test_names_with_blanks_can_be_pasted(command, tiny, fact_patch, tmp_path):
    folder = tmp_path / "my folder ü" / "m 1"
    shutil.copytree(tiny, folder)
    done = command("apply", str(fact_patch(folder, "p")), "--model", str(folder), "--in-place")
    assert re.search(f"revert the last with: editcore revert [0-9a-f]{{12}} --model '{folder}'\n", done.stderr)


def test_a_patch_with_a_changed_byte_is_shown_and_refused(command, flipped):
    for words in (("inspect", str(flipped)), ("inspect", str(flipped), "--json")):
        done = command(*words)
        assert done.returncode == 6
        assert Patch.read_header(flipped).patch_id in done.stdout
        assert f"error: {flipped} was changed: tensor " in done.stderr


def test_a_large_patch_is_not_read_and_that_is_said(command, flipped, monkeypatch):
    monkeypatch.setattr(inspecting, "_READ", 100)
    done = command("inspect", str(flipped))
    assert (done.returncode, done.stderr) == (0, f"contents not checked: editcore verify {flipped}\n")


def test_a_single_fault_is_said_once(command, flipped, tiny, fact_patch):
    done = command("verify", str(flipped))
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.count("was changed") == 1


def test_several_faults_are_listed_and_counted(command, tiny, fact_patch):
    for name in ("p", "q"):
        assert command("apply", str(fact_patch(tiny, name, name)), "--model", str(tiny), "--in-place").returncode == 0
    for path in (tiny / ".editcore" / "patches").iterdir():
        path.write_bytes(path.read_bytes()[:-4] + b"?!?!")
    done = command("verify", str(tiny))
    assert done.returncode == 6
    assert len([line for line in done.stdout.splitlines() if "was changed" in line]) == 2
    assert f"error: {tiny} has 2 faults" in done.stderr


def test_what_can_not_be_reverted(command, tiny, fact_patch):
    one, other = fact_patch(tiny, "p"), fact_patch(tiny, "q")
    assert command("apply", str(one), "--model", str(tiny), "--in-place").returncode == 0
    patch_id = Patch.read_header(one).patch_id
    off = Patch.read_header(other).patch_id
    for name, said in {
        "none.safetensors": "error: there is no patch file none.safetensors\nhint: see `editcore stack ",
        patch_id[:2]: f"error: {patch_id[:2]!r} is too short for an id, of which 6 characters are needed at least\n"
        f"hint: write {patch_id[:12]}\n",
        str(other): f"error: patch {off[:12]} is not applied here\nhint: see `editcore stack {tiny}` for the ids\n",
    }.items():
        done = command("revert", name, "--model", str(tiny))
        assert done.returncode == 2
        assert done.stderr.startswith(said)


def test_a_wrong_base_is_named_first(command, tiny, fact_patch, tmp_path):
    path = fact_patch(tiny, "p")
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    data = bytearray((other / "model.safetensors").read_bytes())
    size = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + size])["model.layers.0.mlp.down_proj.weight"]
    data[8 + size + entry["data_offsets"][0]] ^= 1
    (other / "model.safetensors").write_bytes(data)
    done = command("apply", str(path), "--model", str(other), "--in-place")
    assert done.returncode == 3
    patch_id = Patch.read_header(path).patch_id[:12]
    said = f"error: patch {patch_id} was made for tiny, not for {other}: model.layers.0.mlp.down_proj.weight: expected "
    assert done.stderr.startswith(said)
    assert re.search(r"expected sha256 [0-9a-f]{12}, found [0-9a-f]{12}\n", done.stderr)


def test_a_folder_that_has_a_model_can_be_patched_as_it_is(command, tiny, fact_patch):
    path = fact_patch(tiny, "p")
    done = command("apply", str(path), "-o", str(tiny))
    whole = f"editcore apply {path} --model {tiny} --in-place"
    assert f"hint: choose a folder that does not exist, or patch it as it is: {whole}\n" in done.stderr
    assert command(*whole.split()[1:]).returncode == 0


def test_a_patch_of_a_local_folder_says_the_whole_command(command, tiny, fact_patch):
    path = fact_patch(tiny, "p")
    done = command("apply", str(path), "-o", "x 1")
    assert done.stderr.endswith(f"hint: name it with --model DIR: editcore apply {path} --model DIR -o 'x 1'\n")


def test_a_folder_of_a_similar_name_is_offered(tiny, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tour").mkdir()
    shutil.move(tiny, tmp_path / "tour" / "model")
    for name, meant in {
        "tour/models": "did you mean 'tour/model'?",
        "elsewhere/m": "pass the folder of a model",
    }.items():
        with pytest.raises(EditcoreError) as caught:
            find(name)
        assert str(caught.value.hint).startswith(meant)
        assert "Got:" not in caught.value.message


def test_that_the_hub_is_asked_is_said_while_it_is(command, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    done = command("chat", "tour/model")
    assert done.returncode == 1
    assert done.stderr.startswith("there is no folder tour/model: asking the hub for a model of that name\nerror: ")


def test_an_unknown_command_of_a_chat_is_not_asked(command, tiny, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("/helpme\n/quit\n"))
    done = command("chat", str(tiny))
    assert (done.returncode, done.stdout) == (0, "")
    assert "there is no command /helpme: /base, /stack and /both choose who answers" in done.stderr
