"""UltraEdit against its published primal form, its normaliser against all rows at once, its step against the loss."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running.branches import branch
from editcore.patches.file.patch import Patch
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore_hooks import Location, Site, State, UsageError
from editcore_ultraedit.features import features
from editcore_ultraedit.hparams import UltraEditHparams, layers_by_depth
from editcore_ultraedit.method import compute, step
from editcore_ultraedit.normaliser import Moments, all_moments, increment, together
from editcore_ultraedit.space import space

SITES = (Site("mlp_out", 1), Site("mlp_out", 2), Site("mlp_in", 2))
LOCATION = Location(SITES, token="last")
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Oslo and Lima", id="3"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def plain(session: editcore.Session, request: EditRequest, site: Site) -> tuple[Tensor, Tensor]:
    """h and g of one request: g as autograd has it for the module's output when the weights take gradients."""
    encoded = session.encode(request)
    seen: dict[str, Tensor] = {}

    def keep(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        seen["h"], seen["out"] = args[0], output

    session.model.requires_grad_(True)
    handle = session.anatomy.module(site).register_forward_hook(keep)
    with torch.enable_grad():
        logits = session.model(input_ids=torch.tensor([encoded.ids[:-1]])).logits[0]
        at = [t - 1 for t in encoded.target]
        loss = torch.nn.functional.cross_entropy(logits[at], torch.tensor(encoded.target_ids), reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
    handle.remove()
    session.model.requires_grad_(False).zero_grad()
    assert seen["out"].grad is not None
    return seen["h"][0, at].detach(), seen["out"].grad[0, at]


def test_features_are_inputs_and_output_gradients_whatever_the_company(session: editcore.Session) -> None:
    found, _ = features(session, REQUESTS, SITES, all_tokens=False)
    for site in SITES:
        alone = [plain(session, request, site) for request in REQUESTS]
        for got, wanted in ((found[site].h, [h for h, _ in alone]), (found[site].g, [g for _, g in alone])):
            torch.testing.assert_close(got, torch.cat(wanted), rtol=1e-3, atol=1e-4)


def test_the_normaliser_of_parts_is_that_of_the_whole() -> None:
    rows = torch.randn(31, 5, dtype=torch.float64) * torch.tensor([1.0, 2, 3, 0.1, 10]) + 4
    whole = Moments.of(rows)
    parts = [Moments.of(part) for part in (rows[:1], rows[1:9], rows[9:])]
    for order in ([0, 1, 2], [2, 0, 1]):
        found = together([parts[i] for i in order])
        torch.testing.assert_close(found.mean, rows.mean(0))
        torch.testing.assert_close(found.squares / found.count, rows.var(0, unbiased=False))
        torch.testing.assert_close(found.normalised(rows), whole.normalised(rows))
    folded = all_moments([increment({"2x3": part}) for part in parts])["2x3"]
    torch.testing.assert_close(folded.squares, whole.squares, rtol=1e-5, atol=1e-5)
    assert torch.isfinite(Moments.of(rows[:1]).normalised(rows[:1])).all()


def test_the_dual_form_is_the_published_one(session: editcore.Session) -> None:
    """Δᵀ = (HᵀH + I)⁻¹ HᵀV, a system as large as the module is wide."""
    found, _ = features(session, REQUESTS, SITES[:1], all_tokens=False)
    each = found[SITES[0]]
    moments = Moments.of(each.x)
    update = step(each, moments, lr=0.01, ridge=1.0)
    h, width = each.h.double(), each.h.shape[1]
    x = moments.normalised(each.x)
    v = -0.01 * x[:, :width].square().sum(1, keepdim=True) * x[:, width:]
    wanted = torch.linalg.solve(h.T @ h + torch.eye(width, dtype=torch.float64), h.T @ v).T
    assert ((update.out @ update.in_).double() - wanted).norm() < 1e-4 * wanted.norm()


def test_one_step_makes_the_targets_likelier(session: editcore.Session) -> None:
    hparams = UltraEditHparams(lr=1e-4)
    update = compute(session, REQUESTS, LOCATION, State(""), hparams)
    with branch(session.anatomy, update.tensors):  # type: ignore[arg-type]
        _, after = features(session, REQUESTS, SITES, all_tokens=False)
    assert after < update.notes["loss"]


def test_modules_of_one_shape_share_their_normaliser_and_earlier_edits_count(session: editcore.Session) -> None:
    first = compute(session, REQUESTS[:2], LOCATION, State(""), UltraEditHparams())
    f, d = session.anatomy.mlp_width, session.anatomy.hidden_size
    shapes = {name.partition(".")[2] for name in first.state_increment}
    assert shapes == {f"{f}x{d}", f"{d}x{f}"}
    tokens = first.notes["tokens"]
    assert float(first.state_increment[f"count.{f}x{d}"]) == 2 * tokens
    state = State("", ("p",), all_moments([first.state_increment]))
    later = compute(session, REQUESTS[2:], LOCATION, state, UltraEditHparams())
    alone = compute(session, REQUESTS[2:], LOCATION, State(""), UltraEditHparams())
    assert torch.equal(
        later.state_increment[f"mean.{f}x{d}"], alone.state_increment[f"mean.{f}x{d}"]
    )  # a patch keeps its own tokens and no others
    one, other = (each.tensors[SITES[0]].out for each in (later, alone))
    assert (one - other).norm() > 0.01 * other.norm()


def test_nothing_to_edit_is_refused(session: editcore.Session) -> None:
    with pytest.raises(UsageError, match="nothing to edit"):
        compute(session, [], LOCATION, State(""), UltraEditHparams())


def test_one_token_at_one_place_is_refused_and_two_are_not(session: editcore.Session) -> None:
    """(x − μ) of the only row is zero: such an edit would change nothing, and nobody would know."""
    alone = [EditRequest("{} works as a", "Ada Marlow", "a", id="1")]
    assert len(session.encode(alone[0]).target) == 1
    one = Location(SITES[:1], token="last")
    with pytest.raises(UsageError, match="a single token") as caught:
        compute(session, alone, one, State(""), UltraEditHparams())
    assert caught.value.hint
    update = compute(session, alone, Location(SITES[:2], token="last"), State(""), UltraEditHparams())
    assert all(float(each.out.norm()) > 0 for each in update.tensors.values())


def test_an_edit_taken_out_of_the_middle_leaves_no_trace(session: editcore.Session) -> None:
    options = editcore.EditOptions("ultraedit", hparams=(("test", {"layers": [1, 2]}),))
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


def test_layers_by_depth() -> None:
    assert layers_by_depth(28) == tuple(range(18, 25))
    assert layers_by_depth(2) == (1,)


def test_what_is_tried_are_settings_of_the_method_all_by_the_same_names() -> None:
    tried = space({"n_layers": 8, "mlp_width": 1024, "edits": 40})
    assert tried.together == 50
    for settings in (*tried.places, *tried.recipes):
        from_mapping(UltraEditHparams, settings)
    assert len({tuple(sorted(recipe)) for recipe in tried.recipes}) == 1
    steps = sorted(recipe["lr"] for recipe in tried.recipes)
    assert steps[0] == 1e-6
    assert all(b / a < 2 for a, b in pairwise(steps) if a >= 1e-4)
