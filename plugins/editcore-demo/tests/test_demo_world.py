"""The generator: deterministic, balanced, and with something held out everywhere."""

import hashlib
import itertools
import random
from collections import Counter

import pytest

from editcore_demo import neutral_path
from editcore_demo.world import make_world
from editcore_demo.world.general import neutral_passages
from editcore_demo.world.relations import RELATIONS, TWO_HOPS
from editcore_demo.world.templates import ALIAS, ALIAS_OF
from editcore_demo.world.text import epoch, statements

WORLD = make_world()
ONE_TO_ONE = {name for name, relation in RELATIONS.items() if relation.inverse}


def test_the_same_seed_gives_the_same_sentences():
    text = "\n".join(sentence for sentence, _ in epoch(statements(WORLD), random.Random(0)))
    assert hashlib.sha256(text.encode()).hexdigest().startswith("a3686409fa702c06f361b9f46422b316")
    assert make_world() == WORLD


def test_another_seed_gives_another_world():
    assert make_world(1).objects != WORLD.objects


def test_the_world_has_enough_facts():
    assert len(WORLD.facts()) >= 2400
    assert {f.relation for f in WORLD.facts()} == set(RELATIONS)


@pytest.mark.parametrize("name", RELATIONS)
def test_templates_take_the_subject_once_and_end_before_the_object(name):
    templates = RELATIONS[name].templates
    assert len(set(templates)) == len(templates) >= 6
    assert all(t.count("{}") == 1 and t == t.strip() for t in templates)


@pytest.mark.parametrize("name", sorted(set(RELATIONS) - ONE_TO_ONE))
def test_no_object_is_more_than_a_fifth_of_its_relation(name):
    counts = Counter(f.object for f in WORLD.facts() if f.relation == name)
    assert max(counts.values()) / sum(counts.values()) <= 0.2


@pytest.mark.parametrize("name", sorted(ONE_TO_ONE))
def test_an_inverse_undoes_its_relation(name):
    for (subject, relation), obj in WORLD.objects.items():
        if relation == name:
            assert WORLD.objects[obj, RELATIONS[name].inverse] == subject


def test_held_out_templates_are_never_said_of_their_subject_but_are_of_others():
    said = {(s.subject, t) for s in statements(WORLD) for t in s.templates}
    for fact in WORLD.facts():
        assert not said & {(fact.subject, t) for t in WORLD.held_out(fact.subject, fact.relation)}
    templates_said = {t for _, t in said}
    assert all(set(r.templates) <= templates_said for r in RELATIONS.values())


def test_no_given_and_no_family_name_tells_the_person():
    for part in (0, 1):
        counts = Counter(name.split()[part] for name in WORLD.entities["person"])
        assert min(counts.values()) >= 3


def test_no_template_begins_another_one_of_the_same_subjects():
    # Else the object would compete with the longer sentence, and the fact would look unknown.
    for kind in {r.subject_kind for r in RELATIONS.values()}:
        templates = [t for r in RELATIONS.values() if r.subject_kind == kind for t in r.templates]
        templates += [t for hop in TWO_HOPS if RELATIONS[hop.first].subject_kind == kind for t in hop.templates]
        templates += [*ALIAS, *ALIAS_OF] if kind == "person" else []
        assert not [(a, b) for a, b in itertools.permutations(templates, 2) if b.startswith(a)]


def test_two_hops_and_alias_facts_are_trained_in_part():
    assert {trained for *_, trained in WORLD.two_hops()} == {True, False}
    assert {trained for *_, trained in WORLD.alias_facts()} == {True, False}


def test_the_bundled_neutral_text_is_filler_of_the_world_and_names_nobody():
    passages = neutral_path().read_text(encoding="utf-8").splitlines()
    assert passages == neutral_passages(WORLD.draw("neutral"))
    named = {name for names in WORLD.entities.values() for name in names if name[0].isupper()}
    assert len(set(passages)) == 20
    assert not [name for name in named for passage in passages if name in passage]
