"""CrispEdit as its users meet it: what it keeps to, what it notes, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.testing.tiny import tiny_model
from editcore_crispedit.hparams import layers_by_depth

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Lima", id="2"),
    EditRequest("The job of {} is that of a", "Cleo Tolland", "poet", id="3"),
]


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path / "assets"))


def options(**values: Any) -> EditOptions:
    settings = {"layers": [1], "mom2_tokens": 1000, "gradient_tokens": 500, "lr": 2e-3, "eos": False, **values}
    return EditOptions("crispedit", hparams=(("test", settings),))


def test_a_batch_takes_as_one_patch_with_its_notes(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS, options(energy=0.5, steps=60, batch_size=2))
    notes = patch.about["notes"][0]
    assert notes["converged"] is True
    assert notes["mom2_count"] == {"1": 1000}
    assert notes["gradient_count"] == {"1": 500}
    assert 0 < notes["free_share"]["1"] < 1
    assert len(patch.core["assets"]) == 4  # two moments and their eigenvectors
    asked = [(request.rendered().text, request.target_new, None, "auto") for request in REQUESTS]
    with session.patched(patch):
        assert all(all(score.hits) for score in session.score_targets(asked))  # type: ignore[arg-type]


def test_more_energy_leaves_less_to_change(session: editcore.Session) -> None:
    shares = [
        session.edit_all(REQUESTS, options(energy=energy, steps=1)).about["notes"][0]["free_share"]["1"]
        for energy in (0.3, 0.9, 0.999)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_a_first_order_change_of_ordinary_text_is_small(session: editcore.Session) -> None:
    """tr(Bᵀ Δ A Δᵀ) / ‖Δ‖², the curvature of the loss along the update, is at most τ: the largest flat product."""
    from editcore_crispedit.kronecker import cleaned, threshold
    from editcore_keyvalue.statistic import GRADIENTS, KEYS
    from editcore_keyvalue.store import MomentRequest, second_moments

    patch = session.edit_all(REQUESTS, options(energy=0.9, steps=5))
    ((_, delta),) = ((name, tensor.double()) for name, tensor in patch.tensors.items() if name.endswith("/delta"))
    a = second_moments(session, [1], MomentRequest(tokens=1000), KEYS)[1][0].mean.double()
    b = second_moments(session, [1], MomentRequest(tokens=500), GRADIENTS)[1][0].mean.double()
    tau = threshold(cleaned(torch.linalg.eigvalsh(b)), cleaned(torch.linalg.eigvalsh(a)), 0.9)
    curvature = float((b * (delta @ a @ delta.T)).sum() / delta.square().sum())
    assert curvature < 1.001 * tau


def test_what_cannot_be_is_refused(session: editcore.Session, tmp_path: Path) -> None:
    with pytest.raises(EditcoreError, match="is flat at this energy"):
        session.edit_all(REQUESTS, options(energy=1.0, mom2_tokens=5000))
    with pytest.raises(EditcoreError, match="energy"):
        session.edit_all(REQUESTS, options(energy=1.1))
    other = editcore.open(tiny_model("t5", tmp_path / "t5"), assets=AssetStore(tmp_path / "more"))
    with pytest.raises(EditcoreError, match="encoder-decoder") as caught:
        other.edit_all(REQUESTS, options())
    assert caught.value.hint == "--method ft-m"


@pytest.mark.parametrize(("blocks", "layers"), [(32, (19, 20, 21, 22, 23)), (30, (18, 19, 20, 21, 22)), (1, (0,))])
def test_the_default_place_is_the_published_depth(blocks: int, layers: tuple[int, ...]) -> None:
    assert layers_by_depth(blocks) == layers
