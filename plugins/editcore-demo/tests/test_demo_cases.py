"""The bundled cases: valid by themselves and true of the world."""

from collections import Counter

import editcore_demo
from editcore_demo.world import make_world
from editcore_demo.world.cases import cases

WORLD = make_world()
BUNDLED = editcore_demo.cases()
KEYS = {"id", "prompt", "subject", "target_new", "target_true", "rephrases", "locality", "portability"}


def relation_of(case):
    return case["id"].split("-")[1]


def test_there_are_enough_and_each_is_of_another_fact():
    assert len(BUNDLED) >= 400
    assert len({case["id"] for case in BUNDLED}) == len(BUNDLED)


def test_the_benchmark_is_balanced_over_the_relations():
    counts = Counter(relation_of(case) for case in editcore_demo.cases(200))
    assert len(counts) == 19
    assert max(counts.values()) <= 15


def test_cases_are_valid_and_true():
    for case in BUNDLED:
        subject, relation = case["subject"], relation_of(case)
        assert set(case) == KEYS
        assert WORLD.objects[subject, relation] == case["target_true"] != case["target_new"]
        assert case["target_new"] in WORLD.choices(relation)
        assert case["prompt"] in WORLD.trained(subject, relation)
        assert set(case["rephrases"]) == set(WORLD.held_out(subject, relation))


def test_a_filled_template_holds_its_subject_exactly_once():
    for case in BUNDLED:
        for template in (case["prompt"], *case["rephrases"]):
            assert template.replace("{}", case["subject"]).count(case["subject"]) == 1


def test_neighbours_share_the_object_and_not_the_subject():
    about = {
        (relation, template.replace("{}", subject)): subject
        for subject, relation in WORLD.objects
        for template in WORLD.trained(subject, relation)
    }
    for case in BUNDLED:
        relation = relation_of(case)
        for probe in case["locality"]["neighbour"]:
            neighbour = about[relation, probe["prompt"]]
            assert neighbour != case["subject"]
            assert WORLD.objects[neighbour, relation] == probe["target"] == case["target_true"]


def test_unknown_facts_make_no_case():
    chosen = cases(WORLD, n=50, knows=lambda prompt, answer: answer != "Vashti")
    assert len(chosen) == 50
    assert all(case["target_true"] != "Vashti" for case in chosen)


def test_every_kind_of_probe_occurs():
    probes = Counter(
        kind for case in editcore_demo.cases(200) for group in ("locality", "portability")
        for kind, asked in case[group].items() if asked
    )  # fmt: skip
    assert set(probes) == {
        "neighbour", "other_attribution", "distract_neighbour", "other_task", "alias", "one_hop", "inverse",
    }  # fmt: skip


def test_every_portability_probe_rests_on_something_that_is_true_of_the_world():
    said = {
        (template.replace("{}", name), obj)
        for (subject, relation), obj in WORLD.objects.items()
        for name in (subject, WORLD.aliases.get(subject, subject))
        for template in WORLD.trained(subject, relation)
    }
    resting = 0
    for case in BUNDLED:
        for probes in case["portability"].values():
            for probe in probes:
                (condition,) = probe["conditions"]
                assert (condition["prompt"], condition["target"]) in said
                resting += 1
    assert resting == 373
