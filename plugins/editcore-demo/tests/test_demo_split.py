"""The cases to train editors on: of the same world, and apart from every bundled case."""

import editcore_demo
from editcore.authoring.evaluation import parse_case
from editcore_demo.split import training_cases
from editcore_demo.world import make_world

WORLD = make_world()


def test_no_training_case_is_about_a_bundled_fact_nor_asks_for_one():
    rows = training_cases()
    assert len(rows) > 1900
    bundled = {(case["subject"], case["id"].split("-")[1]) for case in editcore_demo.cases()}
    apart = {
        template.replace("{}", subject)
        for subject, relation in bundled
        for template in (*WORLD.trained(subject, relation), *WORLD.held_out(subject, relation))
    }
    kept = 0
    for row in rows:
        relation = row["id"].split("-")[1]
        assert (row["subject"], relation) not in bundled
        assert WORLD.objects[row["subject"], relation] == row["target_true"] != row["target_new"]
        asked = [row["prompt"].replace("{}", row["subject"]), *row["rephrases"]]
        probes = [probe["prompt"] for some in row["locality"].values() for probe in some]
        kept += len(probes)
        assert not apart.intersection(asked)
        assert not [prompt for prompt in probes if apart.intersection(_ends(prompt))]
    assert kept > 10 * len(rows)


def _ends(prompt):
    """The prompt, and what comes after a statement in it."""
    return (prompt, prompt.rpartition(". ")[2])


def test_the_split_is_the_same_each_time_and_can_be_read():
    rows = training_cases()
    assert rows == training_cases()
    case = parse_case(rows[0], "the split")
    assert case.rephrases
    assert case.locality
