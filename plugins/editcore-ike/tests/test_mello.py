"""MeLLo: the loop against a plain one, and a scripted model that answers with the facts that are on it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.applying.runtime import apply_runtime
from editcore.cli import main
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.testing.tiny import tiny_model
from editcore_ike.mello import ask
from editcore_ike.mello.asking import DEMONSTRATIONS
from editcore_ike.mello.loop import Answer, Hop, answer

QUESTION = "What is the capital of the country where the author of Hamlet was born?"
FIRST = "Subquestion: The author of Hamlet is\nGenerated answer: Shakespeare\nRetrieved fact:"
SECOND = (
    "Retrieved fact contradicts the generated answer, so the intermediate answer is: Goethe\n"
    "Subquestion: Where was Goethe born?\nGenerated answer: In Germany\nRetrieved fact: made up by the model\n"
)
LAST = (
    "Retrieved fact does not contradict the generated answer, so the intermediate answer is: Germany\n"
    "Final answer: Berlin\n\nQuestion: another\nSubquestion: one?\n"
)


def plainly(question: str, pieces: list[str], facts: dict[str, str], shown: str, most: int) -> tuple[list[str], Any]:
    """The prompts that the model gets, and what it answers: line by line."""
    prompts, hops, text = [], [], shown + "Question: " + question + "\n"
    while True:
        prompts.append(text)
        lines = []
        for line in pieces[len(prompts) - 1].split("\n"):
            if line.startswith("Retrieved fact:") or (line.startswith("Question:") and lines):
                break
            lines.append(line)
        said = {"Subquestion": None, "Generated answer": None, "Final answer": None}
        between = None
        for line in lines:
            name, colon, rest = line.partition(": ")
            if colon and name in said:
                said[name] = rest
            if colon and name.endswith("so the intermediate answer is"):
                between = rest
        if hops:
            hops[-1]["intermediate"] = between
        if said["Final answer"] is not None or said["Subquestion"] is None or len(hops) == most:
            return prompts, (said["Final answer"], hops)
        fact = facts.get(said["Subquestion"])
        hops.append({"subquestion": said["Subquestion"], "generated": said["Generated answer"], "fact": fact})
        text += "\n".join(lines).rstrip() + "\nRetrieved fact: " + (fact or "none") + "\n"


PIECES = st.lists(st.sampled_from([FIRST, SECOND, LAST, "", "nothing\n", "Subquestion: b\nQuestion: x\n"]), min_size=6)


@settings(max_examples=60)
@given(PIECES, st.integers(1, 4))
def test_the_loop_is_the_plain_one(pieces: list[str], most: int) -> None:
    facts = {"The author of Hamlet is": "The author of Hamlet is Goethe.", "b": "c."}
    given: list[str] = []

    def write(text: str) -> str:
        given.append(text)
        return pieces[len(given) - 1]

    found = answer(QUESTION, write, facts.get, "shown\n\n", most)
    prompts, (final, hops) = plainly(QUESTION, pieces, facts, "shown\n\n", most)
    assert given == prompts
    assert found == Answer(final, tuple(Hop(**hop) for hop in hops))


def test_the_demonstrations_are_four_and_in_the_form_of_the_loop() -> None:
    shown = DEMONSTRATIONS.strip().split("\n\n")
    assert len(shown) == 4
    for text in shown:
        question, *rest = text.splitlines()
        pieces, facts, piece = [], {}, ""
        for line in rest:
            piece += line + "\n"
            if line.startswith("Retrieved fact: "):
                facts[piece.rpartition("Subquestion: ")[2].splitlines()[0]] = line.removeprefix("Retrieved fact: ")
                pieces.append(piece)
                piece = ""
        written = iter([*pieces, piece])
        found = answer(question.removeprefix("Question: "), lambda _, w=written: next(w), facts.get, "", 4)
        assert found.text == rest[-1].removeprefix("Final answer: ") == found.hops[-1].intermediate
        assert 2 <= len(found.hops) <= 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def patches(folder: Path) -> list[editcore.Patch]:
    session = editcore.open(folder)
    requests = [EditRequest("The author of {} is", "Hamlet", "Goethe"), EditRequest("{} flows to", "Rhine", "Rome")]
    chosen = EditOptions("retrieval", hparams=(("test", {"floor": 0.9}),))
    return session.edit_each(requests, chosen, measured=False)


class Script:
    """`generate` of a model that writes the next of its pieces, and the prompts that it was given."""

    def __init__(self, tokenizer: Any, *pieces: str) -> None:
        self.tokenizer, self.pieces, self.given = tokenizer, list(pieces), list[str]()

    def __call__(self, ids: torch.Tensor, **given: Any) -> torch.Tensor:
        self.given.append(self.tokenizer.decode(ids[0], skip_special_tokens=True))
        new = self.tokenizer(self.pieces[len(self.given) - 1], add_special_tokens=False)["input_ids"]
        return torch.cat([ids, torch.tensor([new])], 1)


def same(one: str, two: str) -> bool:
    return "".join(one.split()) == "".join(two.split())


def test_a_model_that_carries_facts_is_asked_in_one_call(
    folder: Path, patches: list[editcore.Patch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_runtime(Checkpoint.open(folder), patches, tmp_path / "edited")
    model, tokenizer = editcore.load(tmp_path / "edited")
    model.config.max_position_embeddings = 4096  # the script reads any length
    script = Script(tokenizer, FIRST, SECOND, LAST)
    monkeypatch.setattr(model, "generate", script)
    found = ask(model, tokenizer, QUESTION, demonstrations="")
    assert found.text is not None
    assert same(found.text, "Berlin")
    assert [hop.fact for hop in found.hops] == ["The author of Hamlet is Goethe.", None]
    assert same(script.given[1], f"Question: {QUESTION}\n{FIRST} The author of Hamlet is Goethe.\n")
    monkeypatch.setattr(model, "generate", Script(tokenizer, FIRST, SECOND))
    always = ask(model, tokenizer, QUESTION, demonstrations="", floor=-1.0, hops=1)
    assert always.text is None
    assert len(always.hops) == 1


def test_stopped_where_the_model_names_a_fact(folder: Path, patches: list[editcore.Patch]) -> None:
    from editcore.models.running.generation import generate

    session = editcore.open(folder)
    (whole,) = generate(session.model, session.tokenizer, ["The author"], 12)
    (text,) = generate(session.model, session.tokenizer, ["The author"], 12, stop=whole[:4])
    assert whole.startswith(text)
    assert whole[:4] in text
    assert len(text) < len(whole)


def test_what_cannot_be_asked_is_refused(folder: Path, patches: list[editcore.Patch]) -> None:
    session = editcore.open(folder)
    with pytest.raises(EditcoreError, match="no facts on this model"):
        ask(session.model, session.tokenizer, QUESTION)
    with session.patched(*patches), pytest.raises(EditcoreError, match="but the model reads"):
        ask(session.model, session.tokenizer, QUESTION * 500)


def test_the_command_prints_the_steps(
    folder: Path, patches: list[editcore.Patch], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import editcore_ike.mello as mello

    patches[0].save(tmp_path / "fact.safetensors")
    found = Answer("Berlin", (Hop("who?", "him", None, "her"),))
    monkeypatch.setattr(mello, "ask", lambda *args, **kwargs: found)
    words = ["mello", str(folder), "--patch", str(tmp_path / "fact.safetensors"), "--question", QUESTION]
    assert main(words) == 0
    assert "final answer: Berlin" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hops"][0]["intermediate"] == "her"
