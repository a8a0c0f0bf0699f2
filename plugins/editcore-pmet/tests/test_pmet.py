"""PMET: a value and a bound for each site, the share of a layer, the stop; only what the MLP puts out is written."""

from pathlib import Path

import pytest
import torch
from attrs import evolve

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running.batch import forward, pad
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore_hooks import Location, Site, State
from editcore_keyvalue.joint import joint_update, second_moment_system
from editcore_keyvalue.rows import TokenRow, edit_rows
from editcore_keyvalue.value import ValueSettings, optimise_values
from editcore_pmet.hparams import PmetHparams
from editcore_pmet.method import compute
from editcore_pmet.space import space

LAYERS = (0, 1)
LOCATION = Location(tuple(Site("mlp_out", layer) for layer in LAYERS))
SITES = (Site("attn_out", 1), Site("mlp_out", 1))
CONTEXTS = ("{}", "So it is. {}")
HPARAMS = PmetHparams(
    v_steps=4, v_lr=0.1, clamp=0.75, context_templates=CONTEXTS, mom2_tokens=1500, mom2_ridge=1e-3, mom2_weight=10.0
)
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def test_each_site_has_its_own_value_and_bound(session: editcore.Session) -> None:
    edits = [edit_rows(session, request, CONTEXTS, "subject_last") for request in REQUESTS]
    settings = ValueSettings(steps=6, lr=0.5, weight_decay=0.0, kl=0.0, clamp=0.2, stop="never")
    for value in optimise_values(session.anatomy, edits, SITES, settings, lambda n: None):
        assert value.v0.shape == (2, session.anatomy.hidden_size)
        ratio = value.delta.norm(dim=1) / value.v0.norm(dim=1)
        torch.testing.assert_close(ratio, torch.full((2,), 0.2), rtol=1e-3, atol=1e-4)


def test_one_site_as_a_list_is_that_site(session: editcore.Session) -> None:
    edits = [edit_rows(session, request, CONTEXTS, "subject_last") for request in REQUESTS]
    one = optimise_values(session.anatomy, edits, SITES[1], ValueSettings(4), lambda n: None, (2,))
    listed = optimise_values(session.anatomy, edits, SITES[1:], ValueSettings(4), lambda n: None, (2,))
    for a, b in zip(one, listed, strict=True):
        assert torch.equal(a.delta, b.delta[0])
        assert torch.equal(a.at[2], b.at[2][0])
        assert torch.equal(a.keys, b.keys)


def test_the_change_of_attention_is_found_and_dropped(session: editcore.Session) -> None:
    """Only down projections change, and by another amount than when attention stands still."""
    longer = evolve(HPARAMS, v_steps=12, v_stop="never")  # the first steps of Adam are signs, much the same in both
    update = compute(session, REQUESTS, LOCATION, State(""), longer)
    assert list(update.tensors) == list(LOCATION.sites)
    system, _, _ = second_moment_system(session, LAYERS, longer, longer.mom2_weight, State(""))
    still = joint_update(session, REQUESTS, LOCATION, longer, system, "PMET", sites=SITES[1:])
    one, other = (each.tensors[SITES[1]].out for each in (update, still))
    assert (one - other).norm() > 1e-3 * other.norm()


def test_the_share_of_a_layer_is_one_over_the_root_of_those_left(session: editcore.Session) -> None:
    root = compute(session, REQUESTS, LOCATION, State(""), HPARAMS)
    even = compute(session, REQUESTS, LOCATION, State(""), evolve(HPARAMS, spreading="linear"))
    first = LOCATION.sites[0]
    torch.testing.assert_close(root.tensors[first].out, even.tensors[first].out * 2**0.5, rtol=1e-4, atol=1e-5)
    assert torch.equal(root.tensors[first].in_, even.tensors[first].in_)


def test_a_value_is_settled_once_its_target_is_the_likeliest_and_little_else_moved(session: editcore.Session) -> None:
    """A target that is the likeliest from the start settles at once; by its loss alone it would go on."""
    rows = edit_rows(session, REQUESTS[0], CONTEXTS[:1], "subject_last")
    (row,) = rows.contexts
    at = row.scored[0]
    likeliest = int(forward(session.model, pad([row.ids[: at + 1]]))[0, -1].argmax())
    known = evolve(rows, contexts=(TokenRow(row.ids[: at + 1], row.s, (at,), (likeliest,)),))
    for stop, settled in (("settled", True), ("loss", False)):
        settings = ValueSettings(steps=5, lr=0.01, stop=stop)  # type: ignore[arg-type]
        (value,) = optimise_values(session.anatomy, [known], SITES, settings, lambda n: None)
        assert (value.steps == 1) is settled
    (never,) = optimise_values(session.anatomy, [rows], SITES, ValueSettings(3, stop="settled"), lambda n: None)
    assert never.steps == 3


def test_what_is_tried_are_settings_of_the_method_all_by_the_same_names() -> None:
    tried = space({"n_layers": 8, "mlp_width": 1024, "edits": 40})
    assert tried.together == 50
    for settings in (*tried.places, *tried.recipes):
        from_mapping(PmetHparams, settings)
    assert len({tuple(sorted(recipe)) for recipe in tried.recipes}) == 1


@pytest.mark.parametrize(("n_layers", "fewest"), [(8, 2), (28, 2), (1, 1)])
def test_one_layer_alone_is_tried_only_where_there_is_no_other(n_layers: int, fewest: int) -> None:
    places = space({"n_layers": n_layers, "mlp_width": 1024}).places
    assert min(len(place["layers"]) for place in places) == fewest
    assert all(0 <= layer < n_layers for place in places for layer in place["layers"])
