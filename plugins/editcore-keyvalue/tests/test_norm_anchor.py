"""NAS: values at the length of values before any edit, also in models that rescale what an MLP puts out."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from attrs import evolve

import editcore
from editcore import EditcoreError, EditRequest
from editcore.assets.store import AssetStore
from editcore.testing.tiny import tiny_model
from editcore.tuning.own import Facts
from editcore_hooks import Case, Location, Site, Update, UsageError
from editcore_keyvalue import norm_anchor
from editcore_keyvalue.fitting import value_settings
from editcore_keyvalue.hparams import SpreadHparams
from editcore_keyvalue.joint import joint_update
from editcore_keyvalue.norm_anchor import find_anchor, mean_length, mlp_outputs
from editcore_keyvalue.rows import edit_rows
from editcore_keyvalue.system import Preserved

SITE = Site("mlp_out", 1)
HPARAMS = SpreadHparams(
    v_steps=6, v_lr=0.3, v_weight_decay=0.0, context_count=0, layers=(1,), norm_anchor=True, norm_anchor_length=100.0
)
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
]


@pytest.fixture(params=["gpt2", "llama", "gemma2"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def update_of(session: editcore.Session, hparams: SpreadHparams, requests: Sequence[EditRequest] = REQUESTS) -> Update:
    return joint_update(session, requests, Location((SITE,)), hparams, lambda _: Preserved(1e-9), "MEMIT")


def test_what_the_mlp_puts_out_has_the_length_of_the_anchor(session: editcore.Session) -> None:
    """Without weight Δk = R, so that the MLP's output becomes v + R: along v + δ, and as long as m."""
    rows = [edit_rows(session, request, ("{}",), "subject_last") for request in REQUESTS]
    v = mlp_outputs(session, rows, SITE)  # (d, 2)
    plain, scaled = (
        update_of(session, h).tensors[SITE].out.double() for h in (evolve(HPARAMS, norm_anchor=False), HPARAMS)
    )
    new = v + scaled
    torch.testing.assert_close(new.norm(dim=0), torch.full((2,), 100.0).double(), rtol=1e-3, atol=1e-3)
    along = torch.cosine_similarity(new, v + plain, dim=0)
    torch.testing.assert_close(along, torch.ones(2).double(), rtol=1e-3, atol=1e-3)


def test_a_value_of_more_than_twice_the_length_is_not_written(session: editcore.Session) -> None:
    notes = update_of(session, evolve(HPARAMS, norm_anchor_length=1e6)).notes["norm_anchor"]
    single = [
        update_of(session, evolve(HPARAMS, norm_anchor_length=1e6), [one]).notes["norm_anchor"]["largest"]
        for one in REQUESTS
    ]
    assert notes["left_out"] == 0
    assert notes["largest"] == pytest.approx(max(single), rel=1e-3)
    between = evolve(HPARAMS, norm_anchor_length=sum(single) / 4)  # of one edit twice this is less than its length
    update = update_of(session, between)
    assert update.notes["norm_anchor"]["left_out"] == 1
    assert update.tensors[SITE].out.shape[1] == 1
    with pytest.raises(EditcoreError, match="every new value is too long") as caught:
        update_of(session, evolve(HPARAMS, norm_anchor_length=1e-9))
    assert caught.value.hint


def test_the_longest_do_not_count() -> None:
    lengths = torch.tensor([1.0] * 19 + [1000.0])
    assert mean_length(lengths) == 1.0


def test_the_anchor_is_that_of_the_base_and_kept(session: editcore.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    hparams = evolve(HPARAMS, norm_anchor_length=None, norm_anchor_edits=2)
    asked: list[int] = []

    def facts(_: editcore.Session, n: int) -> Facts:
        asked.append(n)
        return Facts(tuple(map(Case, REQUESTS)), "given")

    monkeypatch.setattr(norm_anchor, "own_facts", facts)
    arguments = ((SITE,), ("{}",), "subject_last", hparams, value_settings(hparams))
    options = editcore.EditOptions("memit", hparams=(("test", {"layers": [1], "v_steps": 3, "mom2_tokens": 600}),))
    with session.patched(session.edit_all(REQUESTS[:1], options, measured=False)):
        edited = find_anchor(session, *arguments)
    base = find_anchor(session, *arguments)
    assert asked == [2]
    assert base == edited
    lengths = [
        update_of(session, evolve(HPARAMS, norm_anchor_length=1e6), [one]).notes["norm_anchor"]["largest"]
        for one in REQUESTS
    ]
    if not session.model.config.model_type.startswith("gemma"):  # there values are those of the block, as its default
        arguments = ((Site("block", 1),), *arguments[1:])
        base = find_anchor(session, *arguments)
    assert base.length == pytest.approx(min(lengths), rel=1e-3)  # of two the longer is above the quantile


def test_a_model_that_states_nothing_says_what_to_set(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: editcore.Session, n: int) -> Facts:
        raise UsageError("the model states only 0 facts on which an edit could be tried")

    monkeypatch.setattr(norm_anchor, "own_facts", nothing)
    with pytest.raises(UsageError, match="no length to rescale values to") as caught:
        update_of(session, evolve(HPARAMS, norm_anchor_length=None))
    assert "norm_anchor_length" in str(caught.value.hint)
