"""ROME edits every decoder family that the core knows: on disk, and back to the last bit; it refuses an encoder."""

import hashlib
from pathlib import Path

import pytest

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.testing.tiny import FAMILIES, tiny_model

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
QUICK = {"layer": 1, "v_steps": 20, "v_weight_decay": 0.01, "clamp": 8, "context_count": 0, "mom2_tokens": 600}
OPTIONS = EditOptions(hparams=(("test", {**QUICK, "mom2_ridge": 1e-3}),))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


QUICK_FAMILIES = ("gpt2", "llama", "gemma3_text", "qwen3_next", "falcon", "gpt_neox")
"""One of each kind: weights either way round, gates, added norms, attention without softmax, branches side by side."""
DECODERS = [
    pytest.param(family, marks=() if family in QUICK_FAMILIES else pytest.mark.thorough)
    for family in FAMILIES
    if not family.startswith("t5")
]


@pytest.mark.parametrize("family", DECODERS)
def test_an_edit_takes_on_disk_and_leaves_no_trace(family: str, tmp_path: Path) -> None:
    folder, assets = tiny_model(family, tmp_path / "model"), AssetStore(tmp_path / "assets")
    session = editcore.open(folder, assets=assets)
    patch = session.edit_all([REQUEST], OPTIONS)
    question = (REQUEST.rendered().text, REQUEST.target_new, None, "auto")
    before, files = session.score_targets([question])[0].sum, digests(folder)  # type: ignore[list-item]
    apply_on_disk(folder, [patch])
    edited = editcore.open(folder, assets=assets)
    assert edited.score_targets([question])[0].sum > before  # type: ignore[list-item]
    revert_on_disk(folder, [patch.patch_id])
    after = digests(folder)
    assert {name: after.get(name) for name in files} == files


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    for options in (OPTIONS, EditOptions("rome")):  # with settings, and with what would be searched
        with pytest.raises(EditcoreError, match="rome writes into a block that reads the subject") as caught:
            session.edit_all([REQUEST], options)
        assert "ft-m" in caught.value.hint
