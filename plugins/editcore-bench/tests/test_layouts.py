"""Every published layout, from its sample to cases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.cases.reading import parse_case
from editcore.cases.writing import case_to_json
from editcore.plugins.hparams import from_mapping, undocumented
from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.layouts import LAYOUTS
from editcore_hooks import Case, Probe, RefusedFileError

BY_NAME = {layout.name: layout for layout in LAYOUTS}


def sample(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(BY_NAME[name].sample())
    return rows


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[Case], Layout]]:
    def run(name: str, rows: Any = None, **settings: Any) -> tuple[list[Case], Layout]:
        layout = BY_NAME[name](from_mapping(BY_NAME[name].Hparams, settings))
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(sample(name) if rows is None else rows))
        return list(layout.read(path)), layout

    return run


def test_counterfact_has_paraphrases_neighbours_with_the_old_object_and_generation_prompts(read):
    (first, second), _ = read("counterfact")
    assert first.request.id == "counterfact-0"
    assert first.request.rendered().text == "the Kell Observatory was founded in"
    assert (first.request.target_new, first.request.target_true) == ("Ossum", "Tarnia")
    assert first.rephrases[1] == "To visit the Kell Observatory, travel to"
    assert first.locality == {
        "neighbour": (
            Probe("The Vell Library was founded in", ("Tarnia",)),
            Probe("The Lorn Academy stands in", ("Tarnia",)),
        )
    }
    assert first.generation == ("The Kell Observatory is known for",)
    assert second.request.prompt == "The trade of {} is that of a"


@pytest.mark.parametrize(("name", "statement"), [
    ("counterfact", "the Kell Observatory was founded in Ossum. The Vell Library was founded in"),
    ("counterfact-flat", "Ada Voss speaks the language of Oss. Bo Kell speaks the language of"),
])  # fmt: skip
def test_neighbours_are_asked_behind_the_edited_statement_when_that_is_set(read, name, statement):
    (first, _), _ = read(name, distract=True)
    neighbour, distracted = first.locality["neighbour"][0], first.locality["distract_neighbour"][0]
    assert distracted == Probe(statement, neighbour.targets)


def test_flat_counterfact_marks_the_subject_itself(read):
    (first, second), _ = read("counterfact-flat")
    assert (first.request.prompt, first.request.subject) == ("{} speaks the language of", "Ada Voss")
    assert first.rephrases == ("At home Ada Voss talks in",)
    assert second.request.prompt == "{}, which lies in"
    assert second.locality["neighbour"] == (Probe("Mount Lorn, which lies in", ("Tarnia",)),)


def test_zsre_writes_the_wrong_answer_and_leaves_out_records_without_one(read):
    (only,), layout = read("zsre")
    assert (only.request.target_new, only.request.target_true) == ("Glaziers", "Masons")
    assert list(only.locality) == ["other_task"]
    assert only.locality["other_task"][0].prompt.startswith("nq question: ")
    assert only.accepted == ()  # other names of the right answer say nothing of the wrong one
    assert layout.left_out == ["zsre.json, record 2: 'alt' is empty, so there is nothing to write"]


def test_zsre_writes_the_right_answer_when_that_is_set(read):
    (first, second), _ = read("zsre", target="answer")
    assert (first.request.target_new, first.request.target_true) == ("Masons", None)
    assert (first.accepted, second.accepted) == (("the Masons",), ())
    assert second.request.target_new == "Lake Vell"
    assert second.portability == {"one_hop": (Probe("Which lake does the river of Ossum feed?", ("Lake Vell",)),)}


def test_knowedit_accepts_every_answer_and_leaves_out_blank_ones(read):
    (first, second), layout = read("knowedit-recent")
    assert first.portability == {
        "inverse": (Probe("Among those who live in Ossum is", ("Ada Voss", "A. Voss")),),
        "one_hop": (Probe("The river of the town in which Ada Voss lives is", ("Oss", "River Oss")),),
        "alias": (Probe("The name of the town in which the pilot Voss lives is", ("Ossum",)),),
    }
    assert first.locality["other_attribution"] == (Probe("The name of the mother of Ada Voss is", ("Eve Voss",)),)
    (kept,) = first.locality["forgetfulness"]
    assert (kept.targets, kept.also) == (("Tarn", "Old Tarn", "Lorn"), ())
    assert (second.locality, second.portability) == ({}, {})
    assert layout.left_out == ["knowedit-recent.json, record 1: 'portability.Reasoning[1]' has no answer"]


def test_knowedit_answers_may_be_texts_lists_or_lists_of_lists(read):
    (first, second), _ = read("knowedit-counterfact")
    assert (first.request.target_true, second.request.target_true) == ("the Tarns", "Lorn Academy")
    assert first.portability["one_hop"][0].targets == ("Great Vell",)
    assert first.portability["alias"][0].targets == ("the Vells", "Vells")
    assert first.locality["other_attribution"][0].targets == ("4100",)


def test_wikibio_marks_the_name_as_its_title_spells_it(read):
    (first, _), _ = read("knowedit-wikibio")
    assert first.request.prompt == "This is a page on {}. Eve Quist built towers. In 1871"
    assert (first.request.subject, first.request.target_true) == ("eve quist", None)
    assert first.request.target_new == "she raised the tower on the hill of Lorn."


def test_zsre_of_knowedit_keeps_its_rephrase(read):
    (first, _), _ = read("knowedit-zsre")
    assert first.rephrases == ("By whom was the Vell Library built?",)
    assert (first.request.subject, first.request.target_true) == ("Vell Library", "Bo Kell")


def test_rippleedits_finds_subject_and_targets_in_the_statement(read):
    (first, second), _ = read("rippleedits")
    assert first.request.prompt == "The name of the mother of {} is"
    assert (first.request.subject, first.request.target_new) == ("Ada Voss", "Eve Quist")
    assert first.request.target_true == "Eve Marlow"
    assert (second.request.prompt, second.request.subject) == ("{} is followed by", "All That Is")
    assert (second.request.target_new, second.request.target_true) == ("What Is Left", None)


def test_rippleedits_tests_keep_their_conditions_and_all_their_answers(read):
    (first, _), _ = read("rippleedits")
    (siblings,) = first.portability["inverse"]
    assert (siblings.targets, siblings.also) == (("Bo Quist",), (("Ina Quist", "Ina Q."),))
    assert siblings.conditions == (
        Probe("The name of the child of Eve Quist is", ("Bo Quist",)),
        Probe("The gender of Bo Quist is", ("male", "man")),
    )
    occupation = Probe("The occupation of Ada Voss is", ("pilot", "aviator"))  # an alias of one letter says nothing
    assert first.locality["other_attribution"] == (Probe(*occupation_of(occupation), conditions=(occupation,)),)


def occupation_of(probe: Probe) -> tuple[str, tuple[str, ...]]:
    return probe.prompt, probe.targets


def test_a_condition_that_is_the_edit_itself_is_left_aside(read):
    rows = sample("rippleedits")
    (first, _), _ = read("rippleedits", rows)
    asked = [condition.prompt for condition in first.portability["inverse"][0].conditions]
    assert first.request.rendered().text not in asked
    own = rows[0]["Logical_Generalization"][0]["condition_queries"][0]
    own["answers"] = [{"value": "Eve Marlow", "aliases": []}]  # what was true before may be known
    (first, _), _ = read("rippleedits", rows)
    assert first.portability["inverse"][0].conditions[0] == Probe(first.request.rendered().text, ("Eve Marlow",))


def test_whether_someone_is_alive_has_one_answer_in_many_spellings(read):
    rows = sample("rippleedits")
    query = rows[1]["Logical_Generalization"][0]["test_queries"][0]
    query.update(relation="IS_ALIVE", answers=[{"value": "no", "aliases": []}, {"value": "false", "aliases": []}])
    (_, second), _ = read("rippleedits", rows)
    (alive,) = second.portability["inverse"]
    assert (alive.targets, alive.also) == (("no", "false"), ())


def test_several_queries_of_a_rippleedits_test_are_a_group_with_its_rule(read):
    rows = sample("rippleedits")
    (first, _), _ = read("rippleedits", rows)
    assert [(probe.group, probe.rule) for probe in first.portability["alias"]] == [("Subject_Aliasing[0]", "all")] * 2
    rows[0]["Subject_Aliasing"][0]["test_condition"] = "OR"
    (first, _), _ = read("rippleedits", rows)
    assert {probe.rule for probe in first.portability["alias"]} == {"any"}
    assert {(probe.group, probe.rule) for probe in first.portability["inverse"]} == {("", "all")}


@pytest.mark.parametrize(
    ("relation", "statement", "expected"),
    [
        ("MOTHER", "The name of the mother of Ada is Eve.", ("The name of the mother of {} is", "Ada", "Eve")),
        ("SIBLING", "The names of the siblings of Ada are Bo.", ("The names of the siblings of {} are", "Ada", "Bo")),
        ("COUNTRY", "The name of the country which Oss is associated with is Tarn.", (
            "The name of the country which {} is associated with is", "Oss", "Tarn")),
        ("AWARD_RECEIVED", "The name of the award Ada won is The Oss Inc..", (
            "The name of the award {} won is", "Ada", "The Oss Inc.")),
        ("FOLLOWS", "Part {2} follows Part {1}.", ("{} follows", "Part {2}", "Part {1}")),
        ("DIRECTOR", "The name of the director of What is Left is Bo.", (
            "The name of the director of {} is", "What is Left", "Bo")),
    ],
)  # fmt: skip
def test_statements_of_rippleedits_are_taken_apart_by_relation(read, relation, statement, expected):
    row = sample("rippleedits")[1]
    row["edit"].update(prompt=statement, relation=relation)
    row["Subject_Aliasing"] = []
    query = row["Logical_Generalization"][0]["test_queries"][0]
    query.update(prompt=f"The genre of {expected[1]} is", subject_id=row["edit"]["subject_id"])
    (case,), _ = read("rippleedits", [row])
    assert (case.request.prompt, case.request.subject, case.request.target_new) == expected


def test_mquake_writes_all_its_edits_and_asks_every_question_and_hop(read):
    (first, second), _ = read("mquake")
    assert [request.id for request in first.requests] == ["mquake-3", "mquake-3+1"]
    assert [request.rendered().text for request in first.requests] == [
        "Ina Quist is employed by", "The director of Oss Mills is",
    ]  # fmt: skip
    questions = first.portability["multi_hop"]
    assert len(questions) == 3
    assert {(probe.group, probe.rule) for probe in questions} == {("chain", "any")}
    assert questions[0].targets == ("Tarnia", "Old Tarnia")
    assert [probe.targets[0] for probe in first.portability["hop"]] == ["Oss Mills", "Bo Kell", "Tarnia"]
    assert {(probe.group, probe.rule) for probe in first.portability["hop"]} == {("links", "all")}
    assert second.together == ()


def test_mquake_counts_only_where_the_links_that_no_edit_writes_are_known(read):
    (first, _), _ = read("mquake")
    asked = [condition.prompt for condition in first.portability["multi_hop"][0].conditions]
    assert asked == [
        "Ina Quist is employed by", "The director of Vell Works is", "Eve Marlow was born in", "Bo Kell was born in",
    ]  # fmt: skip
    employer, director, birth = first.portability["hop"]
    assert (employer.conditions, director.conditions) == ((), ())
    assert [condition.prompt for condition in birth.conditions] == ["Bo Kell was born in"]


@pytest.mark.parametrize("name", BY_NAME)
def test_cases_survive_the_way_through_cases_jsonl(read, name):
    cases, _ = read(name)
    assert cases
    for case in cases:
        read_back = parse_case(json.loads(json.dumps(case_to_json(case))), "there")
        assert read_back.requests == case.requests
        assert (read_back.rephrases, read_back.accepted) == (case.rephrases, case.accepted)
        assert read_back.locality == {name: probes for name, probes in case.locality.items() if probes}
        assert read_back.portability == {name: probes for name, probes in case.portability.items() if probes}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_record_without_a_key_of_its_layout_is_refused_with_both(read, name):
    for key in BY_NAME[name].keys:
        rows = sample(name)
        del rows[1][key]
        with pytest.raises(RefusedFileError, match=rf"^{name}.json, record 2: '{key}' should be .* and is missing"):
            read(name, rows)


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("counterfact", ("requested_rewrite",), "x", "'requested_rewrite' should be an object, not 'x'"),
        ("counterfact", ("requested_rewrite", "prompt"), "It is", "'requested_rewrite.prompt' should be a text with"),
        ("counterfact", ("requested_rewrite", "prompt"), "{} {}", "has more than one {}"),
        ("counterfact", ("requested_rewrite", "target_new", "str"), 3, "'requested_rewrite.target_new.str' should be"),
        ("counterfact", ("paraphrase_prompts",), [1], "'paraphrase_prompts' should be a list of texts, not [1]"),
        ("counterfact-flat", ("subject",), "Eve", "'prompt' should be a text with the subject 'Eve' in it"),
        ("counterfact-flat", ("case_id",), None, "'case_id' should be a number or a text, not None"),
        ("counterfact-flat", ("target_new",), " ", "'target_new' should be a text, not ' '"),
        ("zsre", ("answers",), {"a": 1}, "'answers' should be a list of texts"),
        ("zsre", ("portability",), {"New Question": "x"}, "'portability.New Answer' should be"),
        ("knowedit-recent", ("locality",), {"Locality": []}, "'locality.Locality' should be one of Relation"),
        ("knowedit-recent", ("portability", "Reasoning"), "x", "'portability.Reasoning' should be a list of objects"),
        ("knowedit-counterfact", ("ground_truth",), {"a": 1}, "'ground_truth' should be a text, a list of texts or"),
        ("rippleedits", ("edit", "prompt"), "Ada rests.", "a statement that says 'mother of ', a subject, ' is '"),
        ("rippleedits", ("edit", "relation"), "AUNT", "a statement that says 'aunt of '"),
        ("rippleedits", ("Subject_Aliasing", 0, "test_condition"), "NOT", "should be OR or AND, not 'NOT'"),
        ("mquake", ("requested_rewrite",), [], "'requested_rewrite' should be a list of at least one edit"),
        ("mquake", ("single_hops", 1, "cloze"), None, "'single_hops[1].cloze' should be a text, not None"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_with_row_key_and_what_was_expected(read, name, path, value, message):
    rows = sample(name)
    place = rows[0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(RefusedFileError) as caught:
        read(name, rows)
    assert caught.value.message.startswith(f"{name}.json, record 1: ")
    assert message in caught.value.message


def test_the_layout_that_a_file_has_is_named(read):
    for name, other in (("counterfact", "counterfact-flat"), ("zsre", "knowedit-zsre"), ("mquake", "counterfact")):
        with pytest.raises(RefusedFileError) as caught:
            read(name, sample(other))
        assert caught.value.hint == f"read it as {other}, whose keys it has"


def test_records_that_do_not_fit_are_passed_over_when_that_is_set(read):
    rows = [*sample("counterfact-flat"), {"prompt": 1}, "x"]
    cases, layout = read("counterfact-flat", rows, skip=True)
    assert len(cases) == 2
    assert [line.partition(":")[0] for line in layout.left_out] == [
        "counterfact-flat.json, record 3", "counterfact-flat.json, record 4 should be an object, not 'x'",
    ]  # fmt: skip


def test_two_records_of_one_case_id_are_refused(read):
    with pytest.raises(RefusedFileError, match="record 3: 'case_id' is that of record 1"):
        read("counterfact-flat", [*sample("counterfact-flat"), sample("counterfact-flat")[0]])


@pytest.mark.parametrize(
    ("prompt", "subject", "marked"),
    [
        ("Ann of Hannah: Ann is", "Ann", "Ann of Hannah: {} is"),  # the last, and never inside a word
        ("The ADA is", "Ada", "The {} is"),
        ("The {x} of Ada is {", "Ada", "The {{x}} of {} is {{"),
        ("C++ is older than C++20 or C++", "C++", "C++ is older than C++20 or {}"),
    ],
)  # fmt: skip
def test_the_subject_is_marked_where_the_prompt_says_it_last(read, prompt, subject, marked):
    row = {**sample("counterfact-flat")[0], "prompt": prompt, "subject": subject}
    (case,), _ = read("counterfact-flat", [row])
    assert case.request.prompt == marked
    assert case.request.rendered().text == prompt


@pytest.mark.parametrize("name", BY_NAME)
def test_every_layout_says_what_it_is(name):
    layout = BY_NAME[name]
    assert layout.summary
    assert layout.paper
    assert layout.files
    assert undocumented(layout.Hparams) == []
