"""Which edits share a change of value: those of one key, those of one subject, or none."""

from pathlib import Path

import pytest
import torch
from attrs import evolve

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.session.talk import Silence
from editcore.testing.tiny import tiny_model
from editcore_hooks import Location, Site, UsageError
from editcore_keyvalue.hparams import SpreadHparams
from editcore_keyvalue.joint import joint_update
from editcore_keyvalue.subjects import Merge, by_key
from editcore_keyvalue.system import Preserved

SITE = Site("mlp_out", 1)
HPARAMS = SpreadHparams(v_steps=4, v_lr=0.3, context_count=0, layers=(1,))
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Ada Marlow", "Oslo", id="2"),
    EditRequest("The home of {} is in", "ada  marlow", "Cairo", id="3"),
    EditRequest("{} works as a", "Bo Quist", "poet", id="4"),
]


class _Heard(Silence):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def session(tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model("llama", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


@pytest.mark.parametrize(
    ("merge", "groups", "keys"),
    [
        ("key", [["1", "2"], ["3"], ["4"]], [1, 1, 1]),
        ("subject", [["1", "2", "3"], ["4"]], [2, 1]),
        ("none", [["1"], ["2"], ["3"], ["4"]], [1, 1, 1, 1]),
    ],
)
def test_edits_are_put_together(
    session: editcore.Session, merge: Merge, groups: list[list[str]], keys: list[int]
) -> None:
    found = by_key(session, REQUESTS, ("{}", "So. {}"), "subject_last", merge=merge)
    assert [[request.id for request in each.requests] for each in found] == groups
    assert [len(each.by_key) for each in found] == keys
    assert [len(each.rows.contexts) for each in found] == [2 * len(group) for group in groups]
    with pytest.raises(UsageError, match="differently"):
        by_key(session, [*REQUESTS, evolve(REQUESTS[0], target_new="judge")], ("{}",), "subject_last", merge=merge)


def test_one_subject_gets_one_change_at_each_of_its_keys(session: editcore.Session) -> None:
    def out(merge: Merge) -> torch.Tensor:
        hparams = evolve(HPARAMS, merge=merge)
        return (
            joint_update(session, REQUESTS, Location((SITE,)), hparams, lambda _: Preserved(1e-9), "MEMIT")
            .tensors[SITE]
            .out
        )  # (d, keys): R of one layer, which without weight is the change of the value itself

    together, apart = out("subject"), out("key")
    assert together.shape == apart.shape
    torch.testing.assert_close(together[:, 0], together[:, 1], rtol=1e-3, atol=1e-5)
    assert (apart[:, 0] - apart[:, 1]).norm() > 0.1 * apart[:, 0].norm()
    assert (together[:, 2] - apart[:, 2]).norm() < 1e-3 * apart[:, 2].norm()  # another subject is not touched by it


def test_unmerged_keys_that_are_one_reach_none_of_their_values(session: editcore.Session) -> None:
    missing = {
        merge: joint_update(
            session, REQUESTS[:2], Location((SITE,)), evolve(HPARAMS, merge=merge), lambda _: Preserved(1e-3), "MEMIT"
        ).notes["missing"]
        for merge in ("key", "none")
    }
    assert missing["key"] < 0.01 < missing["none"]


def test_keys_of_one_subject_that_are_alike_are_said(session: editcore.Session) -> None:
    session.talk = heard = _Heard()
    by_key(session, REQUESTS, ("{}",), "subject_last")
    assert "1 subject has edits with different beginnings, such as Ada Marlow" in heard.said[-1]
    assert "--set merge=subject" in heard.said[-1]
    heard.said.clear()
    by_key(session, REQUESTS[1:2] + REQUESTS[3:], ("{}",), "subject_last")
    assert heard.said == []
