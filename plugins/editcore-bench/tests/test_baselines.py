"""Baselines change the prompt and nothing else; retrieval finds the fact that is asked for."""

import json
from pathlib import Path

import pytest
import torch
from attrs import frozen
from transformers import BertConfig, BertModel

import editcore
from editcore.plugins.registry import registry
from editcore.session.talk import Silence
from editcore_bench.report.figures import MOMENTS, cell_figures
from editcore_bench.runs.baselines import BASELINES, preface, statement
from editcore_bench.runs.encoder import Encoder, encoder_folder
from editcore_bench.runs.engines import Here
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.prepared import prepare
from editcore_bench.runs.run import run
from editcore_bench.spec.reading import Choice, read_spec
from editcore_hooks import Case, EditRequest, Probe, UsageError

CASES = [Case(EditRequest("{} lives in", name, town, id=name)) for name, town in (("Ada", "Rome"), ("Bo", "Oslo"))]


@frozen(eq=False)
class Letters:
    """An encoder that counts letters."""

    name: str = "letters"

    def nearest(self, texts):
        def counts(text):
            return torch.tensor([float(text.lower().count(chr(97 + i))) for i in range(26)])

        return lambda prompt: max(
            range(len(texts)), key=lambda i: torch.cosine_similarity(counts(texts[i]), counts(prompt), 0)
        )


def test_each_baseline_puts_its_own_text_before_the_prompt() -> None:
    assert statement(CASES[0]) == "Remember this: Ada lives in Rome.\n\n"
    unedited, told, retrieved = (preface(name, CASES, Letters()) for name in BASELINES)  # type: ignore[arg-type]
    assert unedited(CASES[0], "Ada lives in") == ""
    assert told(CASES[0], "Bo lives in") == statement(CASES[0])
    assert retrieved(CASES[0], "Bo lives in") == statement(CASES[1])
    assert retrieved(CASES[1], "Ada lives in") == statement(CASES[0])


def test_a_preface_is_given_to_the_current_model_and_not_to_the_unedited_one(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    metrics = ["gen1.loc.agree@1", "loc.kl@1", "tf.exact@1", "damage.ppl@1"]
    near = (Probe("Bo Quist lives in", ("Oslo",)),)
    case = Case(EditRequest("{} lives in", "Ada Marlow", "Oslo"), locality={"neighbour": near})
    plain = {one.metric: one for one in session.evaluate([case], metrics)}
    empty = {one.metric: one.value for one in session.evaluate([case], metrics, preface=lambda *_: "")}
    assert empty == pytest.approx({name: one.value for name, one in plain.items()})
    told = {one.metric: one for one in session.evaluate([case], metrics, preface=lambda *_: "Eve Tolland works as a ")}
    assert told["loc.kl@1"].value > 1e-4 > abs(plain["loc.kl@1"].value)
    assert told["damage.ppl@1"].value == pytest.approx(1)
    (row,) = told["gen1.loc.agree@1"].rows
    assert row["prompt"] == "Bo Quist lives in"
    assert row["written_unedited"] == plain["gen1.loc.agree@1"].rows[0]["written"]


@pytest.fixture
def encoder(llama_folder: Path, tmp_path: Path) -> Path:
    """A small random encoder with the tokenizer of the model."""
    folder = tmp_path / "encoder"
    editcore.open(llama_folder).tokenizer.save_pretrained(folder)
    config = BertConfig(vocab_size=2000, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(config).save_pretrained(folder)
    return folder


def test_an_encoder_is_as_near_to_a_text_as_can_be_to_itself(encoder: Path) -> None:
    opened = Encoder.open(encoder_folder(str(encoder)))  # type: ignore[arg-type]
    texts = ["Ada lives in Rome", "Bo works as a baker there", "one"]
    vectors = opened.vectors(texts)
    alone = torch.cat([opened.vectors([text]) for text in texts])
    assert torch.allclose(vectors, alone, atol=1e-5)  # padding changes nothing
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3))
    assert [opened.nearest(texts)(text) for text in texts] == [0, 1, 2]
    with pytest.raises(UsageError, match="holds no sentence encoder"):
        encoder_folder(str(encoder / "none"))


def test_a_spec_names_baselines_and_they_are_rows_without_edits(
    write_spec, llama_folder: Path, encoder: Path, tmp_path: Path
) -> None:
    spec = write_spec(
        tmp_path / "spec",
        ("methods:", "baselines: [unedited, fact-in-prompt, retrieved-fact]\nmethods:"),
        ("  - {name: ft-l, set: {steps: 4, layers: [1]}}\n", ""),
        ("metrics: [pref.score@1, pref.es@1, tf.exact@1,", "metrics: [gen1.contains@1, gen1.old_contains@1,"),
    )
    asked = read_spec(spec, registry(), Choice((str(llama_folder),)))
    silence = Silence()
    prepared = prepare(asked, registry(), encoder=str(encoder))
    outcome = run(prepared, tmp_path / "out", Here(), silence.say, lambda total: silence.progress("", total))
    assert not outcome.failed
    found = cell_figures(RunFolder.open(tmp_path / "out"))
    assert {one.cell.method.label for one in found} == {*BASELINES, "ft-m"}
    single = {(f.cell.method.label, f.metric): f.value for one in found for f in one.figures if f.phase == "single"}
    assert single["unedited", "gen1.old_contains@1"] == 1
    assert single["unedited", "gen1.contains@1"] == 0
    assert single["unedited", "loc.agree@1"] == 1
    phases = {(f.cell.method.label, f.phase) for one in found for f in one.figures}
    assert {phase for name, phase in phases if name == "retrieved-fact"} >= set(MOMENTS) - {"retained"}
    records = {record.cell.method.label: record for record in RunFolder.open(tmp_path / "out").records()}
    assert records["retrieved-fact"].method["hparams"]["encoder"].startswith("encoder ")
    assert records["unedited"].edits == ()


def test_without_an_encoder_the_row_is_left_out_and_another_name_is_refused(
    write_spec, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editcore_bench.runs.prepared.encoder_folder", lambda given: None)
    spec = write_spec(tmp_path / "spec", ("methods:", "baselines: [unedited, retrieved-fact]\nmethods:"))
    prepared = prepare(read_spec(spec, registry(), Choice((str(llama_folder),))), registry())
    assert [one.label for one in prepared.spec.methods] == ["unedited", "ft-l", "ft-m"]
    json.dumps(prepared.identity())
    wrong = write_spec(tmp_path / "wrong", ("methods:", "baselines: [unedeted]\nmethods:"))
    with pytest.raises(UsageError, match=r"baselines\[0\] is not a baseline"):
        read_spec(wrong, registry(), Choice((str(llama_folder),)))
