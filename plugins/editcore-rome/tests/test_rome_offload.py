"""ROME on a model that is partly on disk gives the edit of the model in memory."""

from pathlib import Path

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.testing.tiny import tiny_model

pytest.importorskip("accelerate")
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
QUICK = {"v_steps": 10, "clamp": 8, "context_count": 0, "mom2_tokens": 600, "mom2_ridge": 1e-3}
DEVICES = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("away", [0, 1, 2])
def test_an_edit_is_the_same_wherever_a_block_is(layer: int, away: int, tmp_path: Path) -> None:
    """The block below the edit, the edited one and the one above it are fetched from disk in turn."""
    folder, assets = tiny_model("llama", tmp_path / "model"), AssetStore(tmp_path / "assets")
    blocks = {f"model.layers.{i}": "disk" if i == away else "cpu" for i in range(3)}
    whole = editcore.open(folder, assets=assets)
    partly = editcore.open(folder, assets=assets, device_map={**DEVICES, **blocks}, offload_folder=tmp_path / "away")
    assert sum(parameter.is_meta for parameter in partly.model.parameters()) > 2
    options = EditOptions(hparams=(("test", {**QUICK, "layer": layer}),))
    wanted, found = (session.edit_all([REQUEST], options) for session in (whole, partly))
    assert found.targets.keys() == wanted.targets.keys()
    for name, tensor in wanted.tensors.items():
        assert tensor.norm() > 0
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-3, atol=1e-5)
