"""EMMET: its constraints hold, and with slack it is MEMIT of another weight."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.patches.file.patch import Patch
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore_emmet.hparams import EmmetHparams
from editcore_emmet.method import compute
from editcore_emmet.space import space
from editcore_hooks import Location, Site, State, Update, UsageError
from editcore_keyvalue.store import MomentRequest, second_moments

LAYER = 1
LOCATION = Location((Site("mlp_out", LAYER),))
SETTINGS = {
    "v_steps": 4, "v_lr": 0.1, "clamp": 2.0, "context_templates": ("{}", "So it is. {}"), "mom2_tokens": 1500,
    "mom2_ridge": 1e-3,
}  # fmt: skip
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Oslo", id="3"),
]


@pytest.fixture
def session(tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model("llama", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def parts(update: Update) -> tuple[Tensor, Tensor, Tensor]:
    """Δ (d, f), R (d, n) and K (f, n)."""
    found = update.tensors[LOCATION.sites[0]]
    keys = update.state_increment[f"keys.{LAYER}"].double()
    return (found.out @ found.in_).double(), found.out.double(), keys


def test_without_slack_every_key_has_its_value(session: editcore.Session) -> None:
    delta, r, k = parts(compute(session, REQUESTS, LOCATION, State(""), EmmetHparams(slack=0.0, **SETTINGS)))
    torch.testing.assert_close(delta @ k, r, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm_weight", [0.0, 3.0])
def test_with_slack_it_is_the_published_formula(session: editcore.Session, norm_weight: float) -> None:
    """Δ = R (Kᵀ C′⁻¹ K + γI)⁻¹ Kᵀ C′⁻¹ with C′ = λC + μI."""
    hparams = EmmetHparams(slack=0.1, mom2_weight=50.0, norm_weight=norm_weight, **SETTINGS)
    delta, r, k = parts(compute(session, REQUESTS, LOCATION, State(""), hparams))
    c = second_moments(session, [LAYER], MomentRequest.of(hparams))[LAYER][0].mean.double()
    eye = torch.eye(len(c), dtype=torch.float64)
    c = 50.0 * (c + 1e-3 * c.diagonal().mean() * eye) + norm_weight * eye
    inverse = torch.linalg.inv(c)
    middle = torch.linalg.inv(k.T @ inverse @ k + 0.1 * torch.eye(len(REQUESTS), dtype=torch.float64))
    wanted = r @ middle @ k.T @ inverse
    assert (delta - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize("slack", [0.0, 0.1])
def test_an_edit_taken_out_of_the_middle_leaves_no_trace(session: editcore.Session, slack: float) -> None:
    settings = {**SETTINGS, "layers": [LAYER], "slack": slack, "mom2_weight": 50.0}
    options = editcore.EditOptions("emmet", hparams=(("test", settings),))
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


def test_without_slack_a_second_fact_of_a_subject_is_written_too(session: editcore.Session) -> None:
    """Its key is in the history already: both to be kept would contradict each other."""
    options = editcore.EditOptions("emmet", hparams=(("test", {**SETTINGS, "layers": [LAYER], "slack": 0.0}),))
    with session.patched(session.edit_all(REQUESTS[:1], options)):
        second = EditRequest("{} lives in", REQUESTS[0].subject, "Lima", id="4")
        patch = session.edit_all([second, REQUESTS[1]], options)
    assert patch.about["notes"][0]["missing"] < 0.2


def test_without_slack_differences_between_contexts_cannot_be_spared(session: editcore.Session) -> None:
    with pytest.raises(UsageError, match="without slack") as caught:
        compute(session, REQUESTS, LOCATION, State(""), EmmetHparams(slack=0.0, context_spread=True, **SETTINGS))
    assert caught.value.hint


def test_what_is_tried_are_settings_of_the_method_all_by_the_same_names() -> None:
    tried = space({"n_layers": 8, "mlp_width": 1024, "edits": 40})
    assert tried.together == 50
    for settings in (*tried.places, *tried.recipes):
        from_mapping(EmmetHparams, settings)
    assert len({tuple(sorted(recipe)) for recipe in tried.recipes}) == 1
