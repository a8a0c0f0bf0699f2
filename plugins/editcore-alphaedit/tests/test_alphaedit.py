"""AlphaEdit against a plain implementation, and what its projector promises."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditcoreError, EditRequest
from editcore.assets.store import AssetStore
from editcore.patches.file.patch import Patch
from editcore.plugins.hparams import from_mapping, to_json
from editcore.testing.tiny import tiny_model
from editcore_alphaedit.hparams import AlphaEditHparams
from editcore_alphaedit.method import compute, free_directions
from editcore_alphaedit.space import space
from editcore_hooks import Location, Site, State, Update
from editcore_keyvalue.corpus import SelfCorpus
from editcore_keyvalue.history import all_keys
from editcore_keyvalue.moments import Accumulator
from editcore_keyvalue.store import MomentRequest, second_moments

LAYERS = (1, 2)
LOCATION = Location(tuple(Site("mlp_out", layer) for layer in LAYERS))
HPARAMS = AlphaEditHparams(
    v_steps=4, v_lr=0.1, clamp=2.0, context_templates=("{}", "So it is. {}"), layers=LAYERS, l2=0.5,
    nullspace_share=0.6, mom2_tokens=1500,
)  # fmt: skip
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Oslo", id="3"),
    EditRequest("{} works as a", "Dan Quist", "poet", id="4"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def delta(update: Update, layer: int) -> Tensor:
    found = update.tensors[Site("mlp_out", layer)]
    return (found.out @ found.in_).double()


def projector(session: editcore.Session, layer: int) -> Tensor:
    """P (f, f) by the singular vectors of C, as published."""
    c = second_moments(session, LAYERS, MomentRequest.of(HPARAMS))[layer][0].mean.double()
    u, s, _ = torch.linalg.svd(c)
    free = u[:, len(s) - round(0.6 * len(s)) :]
    return free @ free.T


def published(residual: Tensor, k: Tensor, p: Tensor, history: Tensor) -> Tensor:
    """R Kᵀ P [P (H Hᵀ + K Kᵀ) + L₂ I]⁻¹ by the transposed system of the code, whose matrix is not symmetric."""
    f = len(p)
    matrix = p @ (k @ k.T + history @ history.T) + HPARAMS.l2 * torch.eye(f, dtype=torch.float64)
    return torch.linalg.solve(matrix, p @ k @ residual.T).T


def test_two_batches_agree_with_the_published_form(session: editcore.Session) -> None:
    nothing = torch.zeros(session.anatomy.mlp_width, 0, dtype=torch.float64)
    history = dict.fromkeys(LAYERS, nothing)
    states = (State(""), State("", ("p",), {layer: torch.randn(len(nothing), 3) for layer in LAYERS}))
    for state in states:
        history = {layer: state.value[layer].double() for layer in LAYERS} if state.value else history
        update = compute(session, REQUESTS, LOCATION, state, HPARAMS)
        for layer in LAYERS:
            r = update.tensors[Site("mlp_out", layer)].out.double()  # (d, n)
            k = update.state_increment[f"keys.{layer}"].double()
            wanted = published(r, k, projector(session, layer), history[layer])
            assert (delta(update, layer) - wanted).norm() < 1e-3 * wanted.norm(), layer


def test_an_update_is_nought_outside_the_free_directions(session: editcore.Session) -> None:
    update = compute(session, REQUESTS, LOCATION, State(""), HPARAMS)
    for layer in LAYERS:
        p, change = projector(session, layer), delta(update, layer)
        assert (change - change @ p).norm() < 1e-4 * change.norm()
        c = second_moments(session, LAYERS, MomentRequest.of(HPARAMS))[layer][0].mean.double()
        assert update.notes["free_directions"][str(layer)] == round(0.6 * len(c))


def test_ordinary_keys_are_hardly_moved(session: editcore.Session) -> None:
    """‖Δk‖² is on average at most ‖Δ‖² times the largest free eigenvalue, and about that of text that C has not seen.

    Kernels differ in what the model says, so they differ in C: the first is a theorem, the rest holds to a factor of 2.
    """
    update = compute(session, REQUESTS, LOCATION, State(""), HPARAMS)
    held_out = Accumulator(session, LAYERS)
    for chunk in itertools.islice(SelfCorpus().chunks(session, start=1000), 2):
        held_out.add(chunk)
    for layer in LAYERS:
        change, k = delta(update, layer), update.state_increment[f"keys.{layer}"].double()
        plain = update.tensors[Site("mlp_out", layer)].out.double() @ torch.linalg.pinv(k)  # ΔK = R, nothing spared
        seen = second_moments(session, LAYERS, MomentRequest.of(HPARAMS))[layer][0].mean.double()
        values = torch.linalg.eigvalsh(seen)
        largest = values[round(0.6 * len(values)) - 1]
        assert moved(change, seen) < 1.001 * largest
        unseen = held_out.moments()[layer].mean.double()
        assert moved(change, unseen) < 1.5 * largest
        assert moved(change, unseen) < moved(plain, unseen)


def moved(change: Tensor, c: Tensor) -> Tensor:
    """tr ΔCΔᵀ / ‖Δ‖²: the mean of ‖Δk‖² over keys of second moment C, of a Δ of norm 1."""
    return (change @ c @ change.T).trace() / change.square().sum()


def test_an_edit_taken_out_of_the_middle_leaves_no_trace(session: editcore.Session) -> None:
    options = editcore.EditOptions("alphaedit", hparams=(("test", to_json(HPARAMS)),))
    patches: list[Patch] = []
    for request in REQUESTS[:2]:
        with session.patched(*patches):
            patches.append(session.edit_all([request], options))
    with session.patched(*patches):
        both = session.edit_all(REQUESTS[2:], options)
    with session.patched(patches[1]):
        without = session.edit_all(REQUESTS[2:], options)
    other = editcore.open(session.loaded.folder, assets=session.assets)
    with other.patched(patches[1]):
        never = other.edit_all(REQUESTS[2:], options)
    assert without.patch_id == never.patch_id != both.patch_id


def test_a_later_batch_moves_the_keys_of_an_earlier_one_little(session: editcore.Session) -> None:
    first = compute(session, REQUESTS[:2], LOCATION, State(""), HPARAMS)
    keys = all_keys([first.state_increment])
    later = compute(session, REQUESTS[2:], LOCATION, State("", ("p",), keys), HPARAMS)
    forgetful = compute(session, REQUESTS[2:], LOCATION, State(""), HPARAMS)
    layer = LAYERS[0]
    moved, would = ((delta(each, layer) @ keys[layer].double()).norm() for each in (later, forgetful))
    assert moved < 0.7 * would


def test_the_threshold_is_absolute_and_the_share_relative(session: editcore.Session) -> None:
    values = torch.linalg.eigvalsh(second_moments(session, LAYERS, MomentRequest.of(HPARAMS))[1][0].mean.double())
    middle = float(values[10] + values[11]) / 2
    absolute = AlphaEditHparams(layers=LAYERS, nullspace_threshold=middle, mom2_tokens=1500)
    spaces, _, _ = free_directions(session, [1], absolute)
    assert spaces[1].free == 11
    with pytest.raises(EditcoreError, match="no direction") as caught:
        free_directions(session, [1], AlphaEditHparams(nullspace_threshold=1e-30, mom2_tokens=1500))
    assert caught.value.hint


def test_what_is_tried_are_settings_of_the_method_all_by_the_same_names() -> None:
    tried = space({"n_layers": 8, "mlp_width": 1024, "edits": 40})
    assert tried.together == 50
    for settings in (*tried.places, *tried.recipes):
        from_mapping(AlphaEditHparams, settings)
    assert len({tuple(sorted(recipe)) for recipe in tried.recipes}) == 1
