"""Facts in the prompt: golden prompts, which facts a prompt gets, contradictions, encoders, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore.testing.tiny import tiny_model
from editcore_hooks import Payload, WrongBaseError
from editcore_ike.demonstrations import demonstrations, read_corpus
from editcore_ike.kind import FactsKind, TextsKind
from editcore_ike.memory import Facts, Rule

FRANCE = EditRequest("The capital of {} is", "France", "Lyon")
HAMLET = EditRequest("The author of {} is", "Hamlet", "Goethe")
FLOOR = {"floor": -1.0}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return editcore.open(tiny_model("llama", tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module", params=["llama", "t5"])
def any_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder, as a folder."""
    from transformers import AutoModel, BertConfig

    folder = tiny_model("llama", tmp_path_factory.mktemp("encoder"))
    config = BertConfig(
        vocab_size=2000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def edit(session: editcore.Session, method: str, *requests: EditRequest, **values: Any) -> Patch:
    return session.edit_all(list(requests), EditOptions(method, hparams=(("test", values),)), measured=False)


def read_text(session: editcore.Session, prompt: str) -> str:
    """The text that the model reads in place of a prompt."""
    row = session.tokenizer(prompt, add_special_tokens=True)["input_ids"]
    (new,) = session.live.memories._rewritten([tuple(row)])
    return str(session.tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("ike-prompt", "New Fact: The capital of France is Lyon\nPrompt: The capital of France is"),
        ("retrieval", "The capital of France is Lyon.\nThe capital of France is"),
    ],
)
def test_the_prompt_is_as_written_down(any_session: editcore.Session, method: str, expected: str) -> None:
    with any_session.patched(edit(any_session, method, FRANCE)):
        squeezed = "".join(read_text(any_session, "The capital of France is").split())
    assert squeezed == "".join(expected.split())


def test_demonstrations_are_of_all_kinds_and_the_most_similar_is_last(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    rows = []
    for i in range(8):
        request = {"prompt": "{} is in", "subject": f"Town {i}", "target_new": f"Land {i}"}
        probes = {"neighbour": [{"prompt": f"Hill {i} is in", "target": [f"Old {i}"]}]}
        rows.append({"id": str(i), **request, "rephrases": [f"Where is Town {i}? In"], "locality": probes})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    cases = read_corpus(str(path))
    text = demonstrations(cases, torch.arange(8.0), 8, seed=0)
    parts = text.strip().split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [f"New Fact: Town {i} is in Land {i}" for i in range(8)]
    prompts = [part.splitlines()[1] for part in parts]
    assert sum(prompt.startswith("Prompt: Where") for prompt in prompts) == 3
    assert sum(prompt.startswith("Prompt: Hill") for prompt in prompts) == 4
    assert sum(prompt.startswith("Prompt: Town") for prompt in prompts) == 1


def test_ike_without_demonstrations_says_what_to_give(session: editcore.Session) -> None:
    with pytest.raises(EditcoreError, match="no demonstrations"):
        edit(session, "ike", FRANCE)
    with pytest.raises(EditcoreError, match="cannot read the corpus"):
        edit(session, "ike", FRANCE, corpus="nowhere.jsonl")


class _Axes:
    """Texts as unit vectors by their first letter."""

    def __call__(self, texts: Any) -> torch.Tensor:
        return torch.eye(26)[[ord(text[0].lower()) - ord("a") for text in texts]]


def facts(records: Any, floor: float = 0.5, n: int = 1) -> Facts:
    vectors = _Axes()([record[0] for record in records])
    return Facts(None, Rule("ike", n, floor, "x"), _Axes(), records, vectors, torch.zeros(26))  # type: ignore[arg-type]


def test_the_floor_decides_whether_a_prompt_gets_a_fact() -> None:
    records = [("apple is", "red", ""), ("berry is", "blue", "")]
    assert [facts(records).chosen(text) for text in ("a", "b", "c")] == [[0], [1], []]
    assert len(facts(records, floor=-1, n=2).chosen("c")) == 2
    assert facts(records, floor=-1, n=2).chosen("b")[-1] == 1  # the most similar is last


def test_facts_of_patches_are_one_set_and_of_one_prompt_the_later_counts() -> None:
    one, two = facts([("apple is", "red", "")]), facts([("berry is", "blue", ""), ("apple is", "green", "")])
    assert Facts.joined([one, two]).records == [("berry is", "blue", ""), ("apple is", "green", "")]
    assert Facts.joined([two, one]).records[-1] == ("apple is", "red", "")


def test_the_earlier_fact_returns_and_others_stay(session: editcore.Session) -> None:
    other = EditRequest("The capital of {} is", "France", "Nice")
    one, two, three = (edit(session, "ike-prompt", request) for request in (FRANCE, other, HAMLET))
    with session.patched(one, two, three):
        assert "Nice" in read_text(session, "The capital of France is")
        with session.live.only([one.patch_id, three.patch_id]):
            assert "Lyon" in read_text(session, "The capital of France is")
            assert "Goethe" in read_text(session, "The author of Hamlet is")
    with pytest.raises(EditcoreError, match="two requests answer"):
        edit(session, "retrieval", FRANCE, other)


def test_scores_are_of_the_prompt_with_the_fact(any_session: editcore.Session) -> None:
    prompt = FRANCE.rendered().text
    (expected,) = any_session.score_targets([(f"The capital of France is Lyon.\n{prompt}", "Lyon", None, "auto")])
    with any_session.patched(edit(any_session, "retrieval", FRANCE)):
        (found,) = any_session.score_targets([(prompt, "Lyon", None, "auto")])
    assert found.sum == pytest.approx(expected.sum, abs=1e-3)


def test_an_encoder_is_named_by_hash_and_fits_any_model(
    session: editcore.Session, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editcore_ike import encoding

    patch = edit(session, "retrieval", FRANCE, encoder=str(encoder), **FLOOR)
    assert str(encoder) not in json.dumps(dict(patch.core))
    other = editcore.open(tiny_model("gpt2", tmp_path))
    monkeypatch.setattr(encoding, "_known", {})
    monkeypatch.setattr(encoding, "PACKAGE", "no_such_package")
    with pytest.raises(EditcoreError, match="which is not here"), other.patched(patch):
        pass
    monkeypatch.setenv(encoding.ENCODER, str(session.checkpoint.folder))
    with pytest.raises(EditcoreError, match="the patch was made with the encoder"), other.patched(patch):
        pass
    monkeypatch.setenv(encoding.ENCODER, str(encoder))
    with other.patched(patch):
        assert "Lyon" in read_text(other, "The capital of France is")


def test_states_of_a_model_fit_that_model_alone(session: editcore.Session, tmp_path: Path) -> None:
    patch = edit(session, "retrieval", FRANCE)
    with pytest.raises(WrongBaseError), editcore.open(tiny_model("llama", tmp_path, seed=1)).patched(patch):
        pass


def test_it_says_what_it_holds_and_how_it_differs(session: editcore.Session) -> None:
    one, two = edit(session, "retrieval", FRANCE), edit(session, "retrieval", HAMLET)
    other = edit(session, "retrieval", EditRequest("The capital city of {} is", "France", "Nice"))
    assert FactsKind().diff(one, other)["conflict.The capital of France is"][1] == "The capital city of France is Nice"
    assert FactsKind().describe(one)["facts"] == 1
    assert FactsKind().diff(one, two)["removed.The capital of France is"] == (["Lyon"], None)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (FactsKind, lambda data, parts: data.update(floor=2), "not a cosine"),
        (FactsKind, lambda data, parts: data.update(facts=0), "how facts are put"),
        (FactsKind, lambda data, parts: data.update(encoder={"name": "../x", "sha256": ""}), "not a block"),
        (TextsKind, lambda data, parts: None, "no name and hash"),
        (FactsKind, lambda data, parts: parts.update(vectors=parts["vectors"] * torch.inf), "not finite"),
        (FactsKind, lambda data, parts: parts.update(centre=parts["centre"][1:]), "a row for each text"),
        (FactsKind, lambda data, parts: parts.update(offsets=parts["offsets"].flip(1)), "does not divide"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(session: editcore.Session, kind: Any, change: Any, message: str) -> None:
    patch = edit(session, "retrieval", FRANCE)
    data = dict(patch.core["payload"]["data"])
    parts = {name.removeprefix("payload/"): tensor.clone() for name, tensor in patch.tensors.items()}
    change(data, parts)
    with pytest.raises((EditcoreError, ValueError), match=message):
        seal({}, patch.about["base"], dict(patch.about), kind="memory", payload=Payload(kind.name, data, parts))
