"""What an edit is worth: the same in memory as of its patch, and less with each thing that is wrong."""

import pytest
import torch

from core.tests.tuning.pushing import Push, PushAll, given
from editcore import EditOptions, Session
from editcore.tuning.search import Search
from editcore.tuning.trial import Bench, Outcome, Summary, shown


def test_an_edit_in_memory_scores_as_the_patch_does(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0)
    run = search.prepared({"layer": 3, "strength": 1.0})
    outcomes = bench.outcomes(run, range(4))
    for case, outcome in zip(given(), outcomes, strict=True):
        patch = session.edit_all(
            [case.request], EditOptions("push", tune=False, hparams=(("t", {"layer": 3, "strength": 1.0}),))
        )
        with session.patched(patch):
            text = case.request.rendered().text
            new, true = session.score_targets([(text, "Quito", None, "auto"), (text, "Rome", None, "auto")])
        assert outcome.target == pytest.approx(float(torch.tensor(new.mean - true.mean).sigmoid()), abs=1e-3)
        assert outcome.took == (new.mean > true.mean)


def test_an_update_of_many_in_memory_scores_as_its_patch_does(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, PushAll, PushAll.tunable({"edits": 3}), bench, EditOptions("push-all"), 60.0)
    run = search.prepared({"layer": 3, "strength": 1.0})
    found = bench.outcomes(run, range(3), together=3)
    options = EditOptions("push-all", tune=False, hparams=(("t", {"layer": 3, "strength": 1.0}),))
    with session.patched(session.edit_all([case.request for case in given()[:3]], options)):
        wanted = bench._score(range(3), None)
    for one, other in zip(found, wanted, strict=True):
        assert one.mean == pytest.approx(other.mean, abs=1e-4)
        assert one.kl == pytest.approx(other.kl, rel=1e-2, abs=1e-5)


def test_no_edit_changes_nothing_and_noise_shows_as_divergence(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0)
    nothing, pushed, noisy = (
        Summary.of(bench.outcomes(search.prepared({"layer": 3, **settings}), range(4)))
        for settings in ({"strength": 0.0}, {"strength": 1.0}, {"strength": 1.0, "noise": 30.0})
    )
    assert nothing.kl == pytest.approx(0, abs=1e-5)
    assert noisy.kl > 0.01
    assert nothing.target < pushed.target
    assert noisy.score < pushed.score


def test_the_score_falls_with_each_of_its_parts() -> None:
    good = Summary.of([Outcome(0.9, 0.9, 0.9, 0.0, True)])
    assert good.score == pytest.approx(0.9)
    for worse in (
        Outcome(0.5, 0.9, 0.9, 0.0, True),
        Outcome(0.9, 0.5, 0.9, 0.0, True),
        Outcome(0.9, 0.9, 0.5, 0.0, True),
        Outcome(0.9, 0.9, 0.9, 1.0, True),
    ):
        assert Summary.of([worse]).score < good.score


@pytest.mark.parametrize(("score", "words"), [(0.7996, "0.79"), (0.8, "0.80"), (0.29, "0.29"), (1.0, "1.00")])
def test_a_score_below_a_limit_does_not_read_as_the_limit(score: float, words: str) -> None:
    assert shown(score) == words
