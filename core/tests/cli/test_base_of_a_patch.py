"""A patch may name the model of a hub that it was made on; it never chooses a folder of this machine."""

from pathlib import Path

import pytest

from editcore.cli.apply import base_of
from editcore.patches.file.patch import Patch


@pytest.mark.parametrize(
    "words", [("apply", "--in-place"), ("apply", "-o", "out"), ("export", "--to", "peft", "-o", "out")]
)
@pytest.mark.parametrize(
    "name", ["{model}", "./model", "../{here}/model", "~/model", "model", "owner/model", "file:///x"]
)
def test_a_path_in_an_annotation_is_not_followed(
    words, fact_patch, tiny: Path, tmp_path: Path, monkeypatch, name, command
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").symlink_to(tiny)
    path = name.format(model=tiny, here=tmp_path.name)
    patch = fact_patch(tiny, "forged")
    Patch.load(patch).with_about(base={"name": path, "revision": "main"}).save(patch)
    weights = (tiny / "model.safetensors").read_bytes()
    done = command(words[0], str(patch), *words[1:])
    assert done.returncode == 2
    assert "--model DIR" in done.stderr
    assert path in done.stderr
    assert (tiny / "model.safetensors").read_bytes() == weights
    assert not (tmp_path / "out").exists()


def test_the_id_of_a_model_on_a_hub_is_used(fact_patch, tiny: Path):
    patch = Patch.load(fact_patch(tiny, "fact"))
    for name in ("gpt2", "HuggingFaceTB/SmolLM2-135M"):
        assert base_of(patch.with_about(base={"name": name, "revision": "main"})) == name
