"""Tuning on a model with an encoder: it writes no text, so that facts are given, and drift is seen on their answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve, frozen

import editcore
from editcore import EditOptions, EditRequest, Session
from editcore.assets.store import AssetStore
from editcore.plugins.registry import Registry
from editcore.testing.tiny import tiny_model
from editcore.tuning.search import Search
from editcore.tuning.trial import Bench
from editcore.tuning.tune import tune
from editcore_hooks import (
    Case,
    EditMethod,
    Location,
    LowRank,
    Site,
    State,
    Tunable,
    Update,
    UsageError,
    hookimpl,
    hparam,
)


@frozen
class AnswerHparams:
    layer: int = hparam(1, help="of the decoder")
    strength: float = hparam(1.0, help="how far")


class Answer(EditMethod):
    """Turns the decoder's MLP, at its first position after this prompt, from the true tokens towards the new."""

    name = "answer"
    Hparams = AnswerHparams

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return Tunable(({"layer": 1}, {"layer": 0}), ({"strength": 0.0}, {"strength": 40.0}))

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore.models.running.batch import decoder_start, forward_pair, pad
        from editcore.models.running.tracing import Tap, Trace

        (site,) = location.sites
        encoded = session.encode(requests[0])
        with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}) as trace:
            forward_pair(session.model, pad([encoded.prompt_ids]), pad([[decoder_start(session.model)]]))
        k = trace.input(site)[0, 0]
        head = session.model.get_output_embeddings().weight.detach()
        true = session.encode(evolve(requests[0], target_new=requests[0].target_true))
        v = self.hparams.strength * (head[list(encoded.target_ids)].mean(0) - head[list(true.target_ids)].mean(0))
        return Update(tensors={site: LowRank(v[:, None], (k / (k @ k))[None])})


class Plugin:
    @hookimpl
    def editcore_register_methods(self) -> list[type[EditMethod]]:
        return [Answer]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tiny_model("t5", tmp_path / "t5", n_layers=2)
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"), registry_=Registry.of(Plugin()))


def given() -> list[Case]:
    subjects = ("Ada Marlow", "Bo Quist", "Cleo Tolland", "Dan Marlow")
    return [Case(EditRequest("{} lives in", name, "Quito", "Rome", id=str(i))) for i, name in enumerate(subjects)]


def test_given_facts_tune_a_method_that_edits_an_encoder_decoder(session: Session) -> None:
    found = tune(session, "answer", given())
    assert found.profile.hparams["strength"] == 40.0
    scores = {trial.settings["strength"]: trial.summary.target for trial in found.trials if trial.settings}
    assert scores[40.0] > scores[0.0]


def test_drift_is_that_of_the_answers_to_other_prompts(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, Answer, Answer.tunable({}), bench, EditOptions("answer"), 60.0)
    nothing, strong = (
        bench.outcomes(search.prepared({"layer": 1, "strength": strength}), range(4)) for strength in (0.0, 40.0)
    )
    assert all(outcome.kl == pytest.approx(0, abs=1e-6) for outcome in nothing)
    assert all(outcome.kl > 1e-4 for outcome in strong)
    patch = session.edit_all(
        [given()[0].request], EditOptions("answer", tune=False, hparams=(("t", {"strength": 40.0}),))
    )
    with session.patched(patch):
        assert bench.unrelated.drift(torch.no_grad(), [0]) == pytest.approx(strong[0].kl, rel=1e-2, abs=1e-6)
        assert bench.unrelated.drift(torch.no_grad(), range(4)) == 0


def test_a_model_with_an_encoder_shows_no_facts_by_itself(session: Session) -> None:
    with pytest.raises(UsageError, match="writes no text by itself") as caught:
        tune(session, "answer")
    assert "--cases FILE" in str(caught.value.hint)


@pytest.mark.parametrize("method", ["rome", "memit"])
def test_methods_that_refuse_an_encoder_do_so_before_anything_is_tried(tmp_path: Path, method: str) -> None:
    said: list[str] = []
    folder = tiny_model("t5", tmp_path / "t5", n_layers=2)
    session = editcore.open(folder, assets=AssetStore(tmp_path / "assets"))
    session.talk = _Talk(said)
    with pytest.raises(UsageError, match="nothing to tune on a t5"):
        tune(session, method, given())
    with pytest.raises(editcore.EditcoreError, match="encoder"):
        session.edit_all([given()[0].request], EditOptions(method))
    assert not any("trying" in line for line in said)


class _Talk:
    def __init__(self, said: list[str]) -> None:
        self.say = said.append

    def progress(self, label: str, total: int):  # type: ignore[no-untyped-def]
        from editcore.session.talk import Silence

        return Silence().progress(label, total)
