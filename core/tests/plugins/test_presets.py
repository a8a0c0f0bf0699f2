"""A preset belongs to weights or to named releases; a file that matches a shape alone is refused."""

from pathlib import Path

import pytest

from editcore.plugins.presets import _matching
from editcore_hooks import PluginError

SHAPE = "model_type: gpt2, n_layers: 8"


def preset(folder: Path, match: str) -> Path:
    (folder / "one.yaml").write_text(f"match: {{{match}}}\nhparams: {{layer: 1}}\n")
    return folder


def test_a_shape_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="matches a shape alone") as caught:
        _matching(preset(tmp_path, SHAPE), {"model_type": "gpt2", "n_layers": 8})
    assert "weights_root" in str(caught.value.hint)


def test_a_release_is_found_by_its_name_and_shape(tmp_path: Path) -> None:
    folder = preset(tmp_path, f"{SHAPE}, names: [tiny-gpt]")
    model = {"model_type": "gpt2", "n_layers": 8}
    assert _matching(folder, {**model, "name": "someone/Tiny-GPT-v2"}) is not None
    assert _matching(folder, {**model, "name": "someone/other"}) is None
    assert _matching(folder, {**model, "n_layers": 9, "name": "tiny-gpt"}) is None


def test_weights_are_found_under_any_name(tmp_path: Path) -> None:
    folder = preset(tmp_path, "weights_root: ab12")
    assert _matching(folder, {"weights_root": "ab12", "name": "renamed"}) is not None
    assert _matching(folder, {"weights_root": "ab13", "name": "tiny-gpt"}) is None


def test_the_longest_name_and_weights_before_names_win(tmp_path: Path) -> None:
    for file, match in (("a", "names: [qwen2]"), ("b", "names: [qwen2.5]"), ("c", "weights_root: ab12")):
        (tmp_path / f"{file}.yaml").write_text(f"match: {{{match}}}\nhparams: {{layer: 1}}\n")
    chosen = [
        _matching(tmp_path, model)
        for model in ({"name": "qwen2-7b"}, {"name": "Qwen2.5-7B"}, {"name": "Qwen2.5-7B", "weights_root": "ab12"})
    ]
    assert [each and each[0] for each in chosen] == ["a", "b", "c"]
