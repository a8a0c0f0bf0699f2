"""Facts that the bundled model states by itself are about the things of its world, and it holds them for true."""

import editcore
import editcore_demo
from editcore.tuning.own import own_facts
from editcore_demo.world import make_world


def test_facts_of_its_own_are_about_named_things():
    session = editcore.open(editcore_demo.model_path())
    cases = own_facts(session, 16).cases
    assert len(cases) == 16
    names = {name for kind in make_world().entities.values() for name in kind}
    assert sum(case.request.subject in names for case in cases) >= 13
    asked = [(case.request.rendered().text, case.request.target_true, None, "auto") for case in cases]
    assert all(score.sum > -0.7 for score in session.score_targets(asked))
