"""An edit of a tiny random model of every family: into its files, verified, and taken out again."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from checks import sample_patches
from editcore.editing.prepared import EditOptions
from editcore.facade import open_model
from editcore.models.loading.quiet import quiet
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.compare.verification import verify_folder
from editcore.session.talk import Silence
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import EditRequest

REQUEST: Final = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "rome": {
        "layer": 1, "v_steps": 30, "v_weight_decay": 0.0, "clamp": 40.0, "kl": 0.0, "context_count": 0,
        "mom2_tokens": 600, "mom2_ridge": 1e-3,
    },
    "ft-m": {"layers": [1], "lr": 5e-3, "steps": 20},
}  # fmt: skip
ENCODER: Final = ("t5", "t5_gated")
"""ROME has no rule for a model that reads in both directions."""


def run() -> list[str]:
    rows = [
        "The targets are unlikely under random weights. Bits: after the revert every file is as before.", "",
        "| family | method | tensor | p(target) before | after | on disk | reverted |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        rows += [_row(family, Path(name) / family) for family in FAMILIES]
    return rows


def _row(family: str, folder: Path) -> str:
    method = "ft-m" if family in ENCODER else "rome"
    with quiet():
        tiny_model(family, folder)
        session = open_model(folder, talk=Silence())
        patch = session.edit_all([REQUEST], EditOptions(method, hparams=(("check", SETTINGS[method]),)), measured=False)
        before, files = _p(folder), sample_patches.hashes(folder)
        apply_on_disk(folder, [patch])
        after, edited = _p(folder), sample_patches.hashes(folder)
        verify_folder(folder).ensure()
        revert_on_disk(folder, [patch.patch_id])
    left = sample_patches.hashes(folder)
    assert after > before, f"{family}: p(target) {before} -> {after}"
    assert edited["model.safetensors"] != files["model.safetensors"], family
    assert {path: left.get(path) for path in files} == files, f"{family}: the bytes are others after the revert"
    assert _p(folder) == before
    (tensor,) = patch.targets
    return f"| {family} | {method} | `{tensor}` | {before:.2g} | {after:.2g} | verified | bits equal |"


def _p(folder: Path) -> float:
    """p of the target after the prompt, of the model as the files give it."""
    with quiet():
        asked = [(REQUEST.rendered().text, REQUEST.target_new, None, REQUEST.target_prefix)]
        (score,) = open_model(folder, talk=Silence()).score_targets(asked)
    return math.exp(score.sum)
