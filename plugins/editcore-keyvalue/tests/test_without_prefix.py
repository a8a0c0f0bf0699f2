"""Models that keep no prefix: every column is run again, and values are those found with one."""

from pathlib import Path

import pytest
import torch

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running import resume
from editcore.testing.tiny import LINEAR_ATTENTION, tiny_model
from editcore_hooks import Site
from editcore_keyvalue.rows import EditRows, edit_rows
from editcore_keyvalue.value import Value, ValueSettings, optimise_values

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
]
CONTEXTS = ("{}", "Bo Quist lives in Rome. {}")
SETTINGS = ValueSettings(steps=5, lr=0.1, stop="never")


def fitted(session: editcore.Session, site: Site) -> list[Value]:
    edits: list[EditRows] = [edit_rows(session, each, CONTEXTS, "subject_last") for each in REQUESTS]
    return optimise_values(session.anatomy, edits, site, SETTINGS, lambda _: None)


@pytest.mark.parametrize("role", ["mlp_out", "block"])
def test_values_without_a_prefix_are_those_with_one(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = editcore.open(tiny_model("llama", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    with_prefix = fitted(session, Site(role, 1))
    monkeypatch.setattr(resume, "keeps_columns", lambda _: False)
    _same(fitted(session, Site(role, 1)), with_prefix)


@pytest.mark.parametrize("family", LINEAR_ATTENTION)
def test_linear_attention_gives_the_values_of_each_edit_alone(family: str, tmp_path: Path) -> None:
    """Rows of other lengths beside an edit change where its subject stands in the batch, and nothing else."""
    session = editcore.open(tiny_model(family, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    site = Site("mlp_out", 1)
    alone = []
    for request in REQUESTS:
        edits = [edit_rows(session, request, CONTEXTS, "subject_last")]
        alone += optimise_values(session.anatomy, edits, site, SETTINGS, lambda _: None)
    _same(fitted(session, site), alone)


def _same(found: list[Value], wanted: list[Value]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.keys, other.keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.v0, other.v0, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.delta, other.delta, rtol=1e-3, atol=1e-3)
        assert one.losses == pytest.approx(other.losses, rel=1e-3)
        assert float(one.delta.norm()) > 0.1
