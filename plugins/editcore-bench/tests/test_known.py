"""Questions for statements, and `editcore datasets known` on a model that knows a few facts."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from editcore.cases.reading import read_cases
from editcore.cli import main
from editcore.testing.taught import CITIES, facts
from editcore_bench.datasets.known import candidates, read_records
from editcore_bench.datasets.questions import Statements, relation_of, relations
from editcore_hooks import ChatTemplate, RefusedFileError


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("{} is a twin city of", "What is the twin city of {}?"),
        ("The original language of {} was", "What is the original language of {}?"),
        ("The language of {} was", "What is the language of {}?"),
        ("{} is located in the continent", "On which continent is {}?"),
        ("{} is located in the country of", "In which country is {}?"),
        ("{} was created in the country of", "Where was {} founded?"),
        ("{} worked in the city of", "In which city did {} work?"),
        ("{} died in the city of", "In which city did {} die?"),
        ("{} works in the area of", "What is the field of work of {}?"),
        ("{}, produced by", "Which company makes {}?"),
        ("{}, the", None),
        ("{} plays", None),
    ],
)
def test_a_statement_of_one_relation_has_its_questions_and_an_ambiguous_one_none(
    statement: str, question: str | None
) -> None:
    relation = relation_of(statement)
    assert (relation and relation.ask[0]) == question


def test_every_relation_has_two_questions_with_the_subject() -> None:
    asked = [question for relation in relations() for question in relation.ask]
    assert all(question.count("{}") == 1 and question.endswith("?") for question in asked)
    assert max(Counter(asked).values()) == 1


def test_a_prompt_with_its_subject_is_asked_by_the_longest_statement_that_it_fits() -> None:
    known = Statements.of(["{} is in", "{} died in", "The capital of {} is", "{}, the"])
    assert known.question_of("The capital of Peru is") == "What is the capital of Peru?"
    assert known.question_of("Ada Marlow died in") == "In which city did Ada Marlow die?"
    assert known.question_of("Ada Marlow, the") is None
    assert known.question_of("The capital of  is") is None


def record(number: int, prompt: str, subject: str, true: str, near: str = "nobody is in") -> dict[str, Any]:
    return {
        "case_id": number, "prompt": prompt.replace("{}", subject), "subject": subject, "target_new": "Atlantis",
        "ground_truth": true, "rephrase_prompt": f"So {subject} lives in", "locality_prompt": near,
        "locality_ground_truth": true,
    }  # fmt: skip


HOME = "The home of {} is in"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    towns = [(name, thing) for name, relation, thing in facts() if relation == "city"]
    rows = [record(number, HOME, name, town) for number, (name, town) in enumerate(towns[:6])]
    name, town = towns[6]
    rows.append(record(6, HOME, name, next(city for city in CITIES if city != town)))
    rows += [record(7, "{}, the", towns[7][0], towns[7][1]), record(8, "{} is in", *towns[0])]
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_question_is_the_prompt_of_a_chat_and_a_rephrase_of_a_statement(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(
        json.dumps([record(1, HOME, "Ada", "Oslo", "The home of Bo is in"), record(2, HOME, "Eve", "Rome")])
    )
    for form, prompt, rephrases, near in (
        ("chat", "Where is {}?", ("What is the location of Ada?", "The home of Ada is in"), "Where is Bo?"),
        ("question", "Where is {}?", ("What is the location of Ada?", "The home of Ada is in"), "Where is Bo?"),
        ("cloze", HOME, ("So Ada lives in", "Where is Ada?"), "The home of Bo is in"),
    ):
        found, left_out = candidates(read_records([path]), form, 0)  # type: ignore[arg-type]
        (ada,) = [one.case for one in found if one.case.request.subject == "Ada"]
        assert (ada.request.prompt, ada.rephrases, left_out) == (prompt, rephrases, {})
        assert [probe.prompt for probe in ada.locality["neighbour"]] == [near]
        assert ada.request.template == (ChatTemplate() if form == "chat" else None)


def test_the_order_is_drawn_by_the_seed(records: Path) -> None:
    orders = [
        [one.case.request.id for one in candidates(read_records([records]), "cloze", seed)[0]] for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_only_what_the_model_says_by_itself_is_kept(
    records: Path, llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cases.jsonl"
    arguments = ["datasets", "known", str(llama_folder), "--records", str(records), "--n", "4", "--to", str(out)]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    cases = list(read_cases(out.read_text().splitlines(), "cases"))
    right = {f"counterfact-flat-{number}" for number in range(6)}
    assert len(cases) == len({case.request.id for case in cases} & right) == 4
    assert (said["cases"], said["asked"], said["form"]) == (4, 7, "cloze")
    assert said["sha256"] == sha256(out.read_bytes()).hexdigest()
    assert sum(said["left_out"].values()) == 2
    truths = {name: thing for name, relation, thing in facts() if relation == "city"}
    for case in cases:
        own, *known = case.locality["neighbour"]
        assert own.prompt == "nobody is in"
        assert len(known) == 2  # the known facts that are no case
        names = [probe.prompt.removeprefix("The home of ").removesuffix(" is in") for probe in known]
        assert [truths[name] for name in names] == [probe.targets[0] for probe in known]
        assert not {other.request.subject for other in cases} & set(names)
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 0
    assert sha256(out.read_bytes()).hexdigest() == said["sha256"]


def test_too_few_known_facts_write_nothing(
    records: Path, llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cases.jsonl"
    assert main(["datasets", "known", str(llama_folder), "--records", str(records), "--n", "7", "--to", str(out)]) != 0
    assert "knows 6 of 7 facts" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_in_no_known_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('[{"a": 1}]')
    with pytest.raises(RefusedFileError, match=r"other\.json"):
        list(read_records([tmp_path / "other.json"]))
