"""What tuning tries of FT, FT-L and FT-M, and that the settings it finds are those of the edits after it."""

from pathlib import Path

import pytest

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore.tuning.profiles import find_profile
from editcore.tuning.tune import tune
from editcore_ft.hooks import Ft, FtL, FtM, FtT, Locft
from editcore_ft.presets import default_layers
from editcore_hooks import Case

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")


def cases() -> list[Case]:
    subjects = {"Ada Marlow": "Rome", "Bo Quist": "Oslo", "Cleo Tolland": "Lima"}
    return [
        Case(EditRequest("{} lives in", subject, "Quito", town, id=subject), (f"The home of {subject} is in",))
        for subject, town in subjects.items()
    ]


def layers_of(patch: editcore.Patch) -> list[int]:
    return [site["layer"] for site in patch.about["sites"].values()]


@pytest.mark.parametrize("method", [Ft, FtL, FtM, FtT, Locft])
@pytest.mark.parametrize("n_layers", [1, 3, 12, 48])
def test_all_that_is_tried_is_a_setting_of_the_method_and_no_two_are_one(method: type[Ft], n_layers: int) -> None:
    space = method.tunable({"n_layers": n_layers, "edits": 500})
    tried = [from_mapping(method.Hparams, {**place, **recipe}) for place in space.places for recipe in space.recipes]
    assert len(set(tried)) == len(tried)
    assert {len(h.layers) for h in tried} == {1}
    assert {0, n_layers - 1} <= {h.layers[0] for h in tried} <= set(range(n_layers))
    assert {h.constraint for h in tried} == {method.Hparams().constraint}
    assert len({frozenset(recipe) for recipe in space.recipes}) == 1
    assert len(space.places) <= (8 if method is Locft else 6)
    assert space.together == (100 if method is Locft else 48)


def test_an_edit_uses_what_was_found(gpt2_folder: Path, tmp_path: Path) -> None:
    session = editcore.open(gpt2_folder, assets=AssetStore(tmp_path))
    found = tune(session, "ft-m", cases(), seconds=1e6)
    assert found.best.summary is not None
    assert found.best.summary.target > 0.9
    assert found.failed == ()
    patch = session.edit_all([REQUEST], EditOptions("ft-m"))
    given = EditOptions("ft-m", tune=False, hparams=(("what was found", found.profile.hparams),))
    assert patch.patch_id == session.edit_all([REQUEST], given).patch_id
    asked = [(REQUEST.rendered().text, REQUEST.target_new, None, "auto")]
    with session.patched(patch):
        (score,) = session.score_targets(asked)  # type: ignore[arg-type]
    assert score.sum > -0.1


def test_a_model_that_writes_no_facts_is_edited_by_the_defaults(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    patch = session.edit_all([REQUEST], EditOptions("ft-m"))
    assert find_profile(session, "ft-m") is None
    assert layers_of(patch) == list(default_layers(session.traits()))
