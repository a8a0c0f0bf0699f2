"""Every family that the core knows is trained by FT-M: on random weights, the targets become likelier."""

from pathlib import Path

import pytest

import editcore
from editcore import EditRequest, Options
from editcore.testing.tiny import FAMILIES, tiny_model

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot in Rome", id="1"),
    EditRequest("The capital of {} is", "France", "Tokyo", id="2"),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_makes_its_targets_likelier(family: str, tmp_path: Path) -> None:
    session = editcore.open(tiny_model(family, tmp_path / "model"))
    hparams = {"layers": [1, 2], "lr": 5e-3, "steps": 10}
    patch = session.edit_all(REQUESTS, Options("ft-m", hparams=(("test", hparams),)))
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    before = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    assert all(new > old + 0.5 for new, old in zip(after, before, strict=True))
