"""A budget stops a sequence at the edit that would overspend it, says which, and leaves nothing behind."""

import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.applying.change import Change
from editcore.assets.store import AssetStore
from editcore.models.running.generation import sample
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.plugins.registry import Registry
from editcore_guards import hooks
from editcore_hooks import (
    EditMethod,
    Location,
    LowRank,
    NoHparams,
    RequirementNotMetError,
    Site,
    Update,
    UsageError,
    hookimpl,
)

SITE = Site("mlp_out", 1)
REQUESTS = [
    EditRequest("{} works as a", name, "pilot", id=str(i))
    for i, name in enumerate(("Ada Marlow", "Bo Quist", "Cleo Tolland", "Dan Marlow"))
]
PART = 0.2
"""What each edit changes, in norms of the weight; edits are at right angles, so that n of them change √n · 0.2."""


class Steady(EditMethod):
    name = "steady"
    Hparams = NoHparams

    @hookimpl
    def editcore_locate(self, session: Any, requests: Any, state: Any) -> Location:
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session: Any, requests: Any, location: Any, state: Any) -> Update:
        with session.at_base():
            size = PART * float(session.anatomy.weight(SITE).norm())
        d, f = session.anatomy.weight(SITE).shape
        out, in_ = torch.zeros(d, 1), torch.zeros(1, f)
        out[int(requests[0].id)] = size
        in_[0, int(requests[0].id)] = 1
        return Update({SITE: LowRank(out, in_)})


MODULE = types.ModuleType("steady")
MODULE.editcore_register_methods = hookimpl(lambda: [Steady])  # type: ignore[attr-defined]
REGISTRY = Registry.of(hooks, MODULE)


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, registry_=REGISTRY, assets=AssetStore(tmp_path / "assets"))


def weights(session: editcore.Session) -> dict[str, torch.Tensor]:
    return {name: parameter.clone() for name, parameter in session.model.named_parameters()}


def test_without_a_budget_nothing_is_stopped(session: editcore.Session) -> None:
    assert session.edit_all(REQUESTS, EditOptions("steady")).patch_id


def test_a_sequence_is_stopped_at_the_edit_that_overspends(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(session)
    monkeypatch.setenv("EDITCORE_BUDGET", f"norm={PART * 2**0.5 + 0.01}")  # room for two, not for three
    with pytest.raises(RequirementNotMetError, match=r"edit 3 \(Cleo Tolland: pilot\) would overspend") as caught:
        session.edit_all(REQUESTS, EditOptions("steady"))
    assert "stop at edit 2" in str(caught.value)
    assert session.live.ids == ()
    after = weights(session)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    monkeypatch.setenv("EDITCORE_BUDGET", "norm=0.41")
    assert session.edit_all(REQUESTS, EditOptions("steady")).patch_id  # √4 · 0.2


def test_a_folder_is_guarded_too_against_the_patches_of_one_command_together(
    session: editcore.Session, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = session.edit_each(REQUESTS[:2], EditOptions("steady"))
    copy = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    monkeypatch.setenv("EDITCORE_BUDGET", f"norm={PART + 0.01}")
    with pytest.raises(RequirementNotMetError, match="edit 2"):
        Change.open(copy, patches).commit(REGISTRY)
    assert Checkpoint.open(copy).patch_ids == ()  # all of a command or nothing
    Change.open(copy, patches[:1]).commit(REGISTRY)
    with pytest.raises(RequirementNotMetError, match="edit 2"):
        Change.open(copy, patches[1:]).commit(REGISTRY)
    assert Checkpoint.open(copy).patch_ids == (patches[0].patch_id,)


def test_divergence_is_that_of_texts_which_the_base_wrote(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITCORE_BUDGET", "kl=1e-9,texts=4,tokens=12")
    (patch,) = session.edit_each(REQUESTS[:1], EditOptions("steady"))
    with pytest.raises(RequirementNotMetError, match="nats a token") as caught, session.patched(patch):
        pass
    assert session.live.ids == ()
    stated = float(str(caught.value).partition("diverge by ")[2].split()[0])

    rows = sample(session.model, [[session.start_token]] * 4, 12, None, torch.Generator().manual_seed(session.seed))
    ids = torch.tensor([[session.start_token, *row] for row in rows])

    def likelihood() -> torch.Tensor:
        with torch.no_grad():
            logprobs = session.model(input_ids=ids).logits[:, :-1].double().log_softmax(-1)
        return logprobs.gather(-1, ids[:, 1:, None])

    base = likelihood()
    monkeypatch.delenv("EDITCORE_BUDGET")
    with session.patched(patch):
        edited = likelihood()
    ratio = (edited - base).exp()
    assert stated == pytest.approx(float((ratio - 1 - ratio.log()).mean()), rel=1e-2)
    monkeypatch.setenv("EDITCORE_BUDGET", f"kl={stated * 1.01},texts=4,tokens=12")
    with session.patched(patch):
        assert session.live.ids == (patch.patch_id,)


def test_a_budget_that_cannot_be_read_is_refused(session: editcore.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (patch,) = session.edit_each(REQUESTS[:1], EditOptions("steady"))
    for text in ("nrom=1", "norm", "norm=-1"):
        monkeypatch.setenv("EDITCORE_BUDGET", text)
        with pytest.raises(UsageError), session.patched(patch):
            pass


def test_edits_of_a_folder_are_still_computed_together(session: editcore.Session) -> None:
    from editcore.plugins.calls import stage_manager

    assert stage_manager(REGISTRY).observers("editcore_compute_update") == []
