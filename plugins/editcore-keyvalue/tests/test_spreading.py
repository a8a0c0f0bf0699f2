"""Keys and values layer by layer: those of the model with the updates written in, whatever else is in the batch."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditcoreError, EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running.batch import forward, pad
from editcore.models.running.tracing import Tap, Trace
from editcore.testing.tiny import tiny_model
from editcore_hooks import LowRank, Site, UsageError
from editcore_keyvalue.key_reader import KeyReader, last_column
from editcore_keyvalue.nullspace import Eigenbasis, eigenbasis
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.spreading import spread
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.subjects import by_key
from editcore_keyvalue.system import Preserved

CONTEXTS = ("{}", "Bo Quist lives in Rome. {}", "So it is. {}")
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Oslo", id="3"),
]
AGAIN = EditRequest("{} lives in", "Ada Marlow", "Lima", id="4")


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(
        tiny_model(request.param, tmp_path / "model", n_layers=4), assets=AssetStore(tmp_path / "assets")
    )


def rows_of(session: editcore.Session, requests: list[EditRequest]) -> list[EditRows]:
    return [shared.rows for shared in by_key(session, requests, CONTEXTS, "subject_last")]


def update_of(session: editcore.Session, layer: int) -> dict[Site, LowRank]:
    generator = torch.Generator().manual_seed(layer)
    d, f = session.anatomy.weight(Site("mlp_out", layer)).shape
    out = torch.randn(d, 2, generator=generator)
    return {Site("mlp_out", layer): LowRank(out, torch.randn(2, f, generator=generator))}


@torch.no_grad()
def written_in(session: editcore.Session, updates: dict[Site, LowRank], ids: tuple[int, ...], site: Site) -> Tensor:
    """Input, or of a block the output, of a site at the last of `ids`, with the updates in the weights themselves."""
    kept = {each: session.anatomy.weight(each).clone() for each in updates}
    for each, update in updates.items():
        session.anatomy.weight(each).add_(update.out @ update.in_)
    with Trace(session.anatomy, {site: Tap(input=True, output=True)}) as trace:
        forward(session.model, pad([ids]))
    for each, weight in kept.items():
        session.anatomy.weight(each).copy_(weight)
    return trace.output(site)[0, -1] if site.role == "block" else trace.input(site)[0, -1]


def test_keys_are_those_of_the_model_with_lower_updates_written_in(session: editcore.Session) -> None:
    rows = rows_of(session, REQUESTS)
    reader = KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS))
    updates: dict[Site, LowRank] = {}
    for layer in (0, 2, 3):
        found, apart = reader.keys(layer, updates, apart=True)  # (f, E), (f, E · R)
        assert apart is not None
        outputs = reader.outputs(Site("block", 3), updates)  # (d, E)
        for e, edit in enumerate(rows):
            clean, *others = (
                written_in(session, updates, row.ids[: row.s + 1], Site("mlp_out", layer)) for row in edit.contexts
            )
            wanted = clean / 2 + torch.stack(others).mean(0) / 2
            torch.testing.assert_close(found[:, e], wanted, rtol=1e-3, atol=1e-3)
            squares = torch.outer(clean, clean) / 2 + sum(torch.outer(k, k) for k in others) / (2 * len(others))
            own = apart[:, e * len(CONTEXTS) : (e + 1) * len(CONTEXTS)]
            torch.testing.assert_close(own @ own.T + torch.outer(wanted, wanted), squares, rtol=1e-3, atol=1e-2)
            row = edit.contexts[0]
            wanted = written_in(session, updates, row.ids[: row.s + 1], Site("block", 3))
            torch.testing.assert_close(outputs[:, e], wanted, rtol=1e-3, atol=1e-3)
        updates |= update_of(session, layer)


def test_no_key_holds_the_tensor_that_it_was_read_from() -> None:
    traced = torch.randn(5, 40, 8)
    kept = last_column(traced)
    assert torch.equal(kept, traced[:, -1])
    assert kept.untyped_storage().nbytes() == kept.numel() * 4


def test_how_contexts_differ_is_not_formed_unless_asked_for(session: editcore.Session) -> None:
    rows = rows_of(session, REQUESTS)
    found, apart = KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS)).keys(1, {})
    assert apart is None
    assert torch.equal(found, KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS)).keys(1, {}, apart=True)[0])


def test_keys_do_not_depend_on_the_company(session: editcore.Session) -> None:
    rows = rows_of(session, REQUESTS)
    together = KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS)).keys(1, {})[0]
    for e in (2, 0, 1):
        alone = KeyReader.of_edits(session.anatomy, [rows[e]], len(CONTEXTS)).keys(1, {})[0]
        torch.testing.assert_close(together[:, e], alone[:, 0], rtol=1e-4, atol=1e-4)


def test_rows_that_edits_share_are_run_once(session: editcore.Session) -> None:
    twice = KeyReader.of_edits(session.anatomy, [*rows_of(session, REQUESTS), *rows_of(session, REQUESTS[:1])], 3)
    assert sum(len(chunk.rows) for chunk in twice.chunks) == 9


def test_a_lower_layer_cannot_be_asked_for_after_a_higher_one(session: editcore.Session) -> None:
    reader = KeyReader.of_edits(session.anatomy, rows_of(session, REQUESTS), 3)
    reader.keys(2, {})
    with pytest.raises(ValueError, match="cannot continue at layer 1"):
        reader.keys(1, {})


def test_edits_of_one_subject_get_one_value(session: editcore.Session) -> None:
    shared = by_key(session, [*REQUESTS, AGAIN], CONTEXTS, "subject_last")
    assert [len(each.requests) for each in shared] == [2, 1, 1]
    assert len(shared[0].rows.contexts) == 2 * len(CONTEXTS)
    assert shared[0].rows.contexts[len(CONTEXTS)].labels == rows_of(session, [AGAIN])[0].contexts[0].labels


def test_two_targets_of_one_prompt_are_refused(session: editcore.Session) -> None:
    other = EditRequest("{} works as a", "Ada Marlow", "poet", id="5")
    with pytest.raises(UsageError, match="'pilot' and 'poet'") as caught:
        by_key(session, [*REQUESTS, other], CONTEXTS, "subject_last")
    assert caught.value.hint


def test_one_layer_without_weight_reaches_the_target(session: editcore.Session) -> None:
    """With λ → 0 the clean prompts of n edits put out just what was asked for, where no context differs."""
    rows = rows_of(session, REQUESTS)
    start = KeyReader.of_edits(session.anatomy, rows, 1)
    start.keys(1, {})
    target = start.outputs(Site("block", 1), {}) + torch.linspace(-1, 1, session.anatomy.hidden_size)[:, None]
    found = spread(session.anatomy, rows, 1, [1], target, Site("block", 1), lambda _: Preserved(1e-9))
    assert float(found.missing.max()) < 1e-3
    assert found.notes["missing"] == pytest.approx(0, abs=1e-3)


def test_a_key_that_an_earlier_edit_has_is_written_whole(session: editcore.Session) -> None:
    """Spared as others are, it would stop half way between the old value and the new one."""
    rows, block = rows_of(session, REQUESTS), Site("block", 1)
    start = KeyReader.of_edits(session.anatomy, rows, 1)
    keys, _ = start.keys(1, {})
    target = start.outputs(block, {}) + 1.0
    for weight, most in ((0.1, 0.1), (0.0, 1e-3)):
        earlier = Preserved(weight, history=keys[:, [1, 1]])
        found = spread(session.anatomy, rows, 1, [1], target, block, lambda _, earlier=earlier: earlier)
        assert found.again.tolist() == [False, True, False]
        assert float(found.missing[1]) < most


def test_contexts_that_are_spared_change_less_of_a_value(session: editcore.Session) -> None:
    """What is put out in a context differs less from what it put out before plus what was asked for."""
    rows = rows_of(session, REQUESTS)
    start = KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS))
    _, apart = start.keys(1, {}, apart=True)
    target = start.outputs(Site("block", 1), {}) + 1.0
    site, changes = Site("mlp_out", 1), []
    for spared in (False, True):
        found = spread(
            session.anatomy, rows, len(CONTEXTS), [1], target, Site("block", 1), lambda _: Preserved(1e-6),
            context_spread=spared,
        ).updates[site]  # fmt: skip
        changes.append(float((found.out @ found.in_ @ apart).norm()))
    assert changes[1] < 0.2 * changes[0]


def test_more_layers_bring_the_values_no_further_away(session: editcore.Session) -> None:
    rows = rows_of(session, REQUESTS)
    start = KeyReader.of_edits(session.anatomy, rows, len(CONTEXTS))
    start.keys(3, {})
    target = start.outputs(Site("block", 3), {}) + 0.1
    found = spread(session.anatomy, rows, len(CONTEXTS), [1, 2, 3], target, Site("block", 3), lambda _: Preserved(1.0))
    assert list(found.updates) == [Site("mlp_out", layer) for layer in (1, 2, 3)]
    assert float(found.missing.max()) < 1


def test_the_null_space_is_a_projector_and_ordinary_keys_are_not_in_it(session: editcore.Session) -> None:
    moment, asset = second_moments(session, [1], MomentRequest(tokens=600))[1]
    basis, kept = eigenbasis(session, 1, moment.mean, asset)
    assert eigenbasis(session, 1, moment.mean, asset)[1] == kept
    f = len(basis.values)
    eye = torch.eye(f, dtype=torch.float64)
    for free in (f // 4, 3 * f // 4):
        space = basis.smallest(free)
        p = space.apply(eye)
        torch.testing.assert_close(p @ p, p, rtol=0, atol=1e-5)
        torch.testing.assert_close(p, p.T, rtol=0, atol=1e-6)
        assert float(p.trace()) == pytest.approx(free, abs=1e-3)
        assert space.basis.shape[1] <= f / 2
        left = (p @ moment.mean.double() @ p).trace() / moment.mean.double().trace()
        assert float(left) == pytest.approx(float(basis.values[:free].sum() / basis.values.sum()), abs=1e-4)
    assert basis.below(float(basis.values[3]) * 1.0001).free == 4


def test_no_free_direction_is_said() -> None:
    basis = Eigenbasis(torch.ones(4), torch.eye(4))
    with pytest.raises(EditcoreError, match="no direction") as caught:
        basis.below(0.02)
    assert caught.value.hint
