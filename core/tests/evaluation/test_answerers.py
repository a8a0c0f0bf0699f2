"""Questions put to real tiny models: single edits by side branches, answers that are kept, models with an encoder."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import Session
from editcore.assets.store import AssetStore
from editcore.evaluation.engine import model_reader, single_edits, unedited
from editcore.evaluation.engine.answerers import Present
from editcore.evaluation.engine.dialogue import NothingAskedError
from editcore.evaluation.engine.questions import Answer, Answered, Drift, Unshifted, Write
from editcore.models.running.generation import continuations
from editcore.models.running.packed_reading import PADDING, batches, read, reading_of
from editcore.models.running.scoring import target_logprobs
from editcore.models.running.top_k_distribution import LIKELIEST, divergence, top_k
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.testing.tiny import tiny_model
from editcore_hooks import Case, EditRequest, LowRank, Probe, Report, Site, UsageError

METRICS = (
    "pref.es@1",
    "pref.ps@1",
    "pref.ns@1",
    "pref.score@1",
    "tf.token@1",
    "gen.contains@2",
    "loc.agree@1",
    "loc.correct@1",
    "loc.kl@1",
    "port.gen.alias@2",
    "gen1.em@1",
    "gen1.stop@1",
    "gen1.over.qa@1",
    "gen1.port.alias@1",
    "gen1.loc.agree@1",
    "gen1.check@1",
    "fluency.ngram@2",
    "ppl_r@1",
)
OF_TEXT = ("ppl_r.ice2024@1", "damage.ppl@1", "damage.kl@1")


def case(name: str, target: str, *conditions: Probe) -> Case:
    return Case(
        EditRequest("{} lives in", name, target, "Lyon", id=name),
        (f"The home of {name} is in",),
        {"neighbour": (Probe("Zoë lives in", ("Zürich", "Paris")),), "other_task": (Probe("In 1912, 1913 and"),)},
        {"alias": (Probe(f"Mr {name} lives in", (target,), conditions=conditions),)},
    )


CASES = [
    case("Ada", "Paris"),
    case("Anna Maria", "Tokyo"),
    case("Thomas", "the city of Lyon", Probe("It is", ("what it is",))),
]


def patch_of(session: Session, number: int, *, layer: int = 1, size: float = 0.3) -> Patch:
    """A random patch of rank 2 that says it was made from the request of a case."""
    site = Site("mlp_out", layer)
    anatomy, checkpoint = session.anatomy, session.checkpoint
    key = anatomy.key_of(anatomy.name(site), checkpoint.entries)
    drawn = torch.Generator().manual_seed(number)
    d_out, d_in = anatomy.weight(site).shape
    update = LowRank(torch.randn(d_out, 2, generator=drawn) * size, torch.randn(2, d_in, generator=drawn) * size)
    entry = checkpoint.entries[key]
    stored = to_stored(update, anatomy.transposed(site))
    request = {"prompt": "{} lives in", "subject": CASES[number].request.subject}
    about = {
        "title": str(number),
        "requests": [{**request, "target_new": CASES[number].request.target_new}],
        "cost": {"seconds": 1.0 + number, "assets_seconds": 0.0, "peak_bytes": 10},
    }
    target = Target(stored, entry.dtype, entry.shape, checkpoint.base_sha256(key))
    return seal({key: target}, base_identity(checkpoint, "tiny"), about)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def session(folder: Path, tmp_path: Path) -> Session:
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


def close(one: Any, other: Any) -> bool:
    return one == other or (isinstance(one, float) and one == pytest.approx(other, rel=1e-3, abs=1e-4))


def same(ones: list[Report], others: list[Report]) -> bool:
    assert [one.metric for one in ones] == [other.metric for other in others]
    pairs = [(a, b) for one, other in zip(ones, others, strict=True) for a, b in zip(one.rows, other.rows, strict=True)]
    return bool(pairs) and all(a.keys() == b.keys() and all(close(a[key], b[key]) for key in a) for a, b in pairs)


def test_single_edits_at_once_are_scored_as_one_after_another(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = [patch_of(session, number) for number in range(3)]
    metrics = [*METRICS, *OF_TEXT, "cost.seconds@1", "cost.peak_bytes@1"]
    weights = {name: value.clone() for name, value in session.model.state_dict().items()}
    together = session.evaluate_each(CASES, patches, metrics, answers=4)
    monkeypatch.setattr(single_edits, "_branching", lambda *_: None)
    alone = session.evaluate_each(CASES, patches, metrics, answers=4)
    assert same(together, alone)
    assert {report.protocol for report in together} == {"single"}
    by_metric = {report.metric: report for report in together}
    assert by_metric["loc.kl@1"].value > 0.01
    assert [row["value"] for row in by_metric["cost.seconds@1"].rows] == [1.0, 2.0, 3.0]
    assert by_metric["cost.peak_bytes@1"].value == 10
    assert {row["case"] for row in by_metric["damage.kl@1"].rows} == {case.request.id for case in CASES}
    assert all(torch.equal(value, weights[name]) for name, value in session.model.state_dict().items())
    with session.patched(patches[1]):
        (report,) = session.evaluate([CASES[1]], ["loc.kl@1"], protocol="batch")
    mine = [row["value"] for row in by_metric["loc.kl@1"].rows if row["case"] == "Anna Maria"]
    assert [row["value"] for row in report.rows] == pytest.approx(mine, rel=1e-3, abs=1e-5)
    assert (report.protocol, report.dtype) == ("batch", "float32")


def written(session: Session) -> tuple[int, ...]:
    row = tuple(session.tokenizer("Paris")["input_ids"])
    return continuations(session.model, session.tokenizer, [row], 6)[0]


def test_an_answer_says_whether_the_model_ended_it(session: Session) -> None:
    ids = written(session)
    session.model.generation_config.eos_token_id = ids[3]
    first = ids.index(ids[3])
    asked = [Answer("Paris", tokens) for tokens in (first, first + 1, 6)] + [Write("Paris", 6)]
    cut, ended, early, plain = Present(session).answer([(0, one) for one in asked], keep=False)
    assert [one.stopped for one in (cut, ended, early)] == [False, True, True]
    assert cut.text == ended.text == early.text == plain
    unedited = Present(session).answer([(0, attrs.evolve(one, unedited=True)) for one in asked], keep=True)
    assert unedited == [cut, ended, early, plain]


def test_an_answer_ends_with_the_turn_though_the_model_is_not_said_to_end_there(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = written(session)
    monkeypatch.setattr(model_reader, "turn_ends", lambda tokenizer: frozenset({ids[2]}))
    (answer,) = Present(session).answer([(0, Answer("Paris", 6))], keep=False)
    (shorter,) = Present(session).answer([(0, Write("Paris", ids.index(ids[2])))], keep=False)
    assert answer == Answered(shorter, stopped=True)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_rounded_weights_are_scored_at_once_as_they_are_rounded(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny_model(family, tmp_path / family)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    session = editcore.open(folder, assets=AssetStore(tmp_path / "assets"))
    assert (session.loaded.dtype, session.loaded.stored_dtype) == ("float32", "bfloat16")
    patches = [patch_of(session, number, layer=number) for number in range(3)]
    metrics = ["pref.es@1", "loc.kl@1", "gen.contains@2"]
    assert single_edits._branching(session, patches, [session.registry.metric(name)() for name in metrics]) is not None
    together = session.evaluate_each(CASES, patches, metrics)
    monkeypatch.setattr(single_edits, "_branching", lambda *_: None)
    assert same(together, session.evaluate_each(CASES, patches, metrics))
    assert together[1].value > 0.01


def test_the_unedited_model_agrees_with_itself(session: Session) -> None:
    reports = {r.metric: r for r in session.evaluate(CASES, ["loc.agree@1", "loc.kl@1", *OF_TEXT[1:]])}
    assert reports["loc.agree@1"].value == 1
    assert reports["loc.kl@1"].value == pytest.approx(0, abs=1e-5)
    assert reports["damage.ppl@1"].value == pytest.approx(1, abs=1e-4)
    assert reports["damage.kl@1"].value == pytest.approx(0, abs=1e-5)
    assert reports["damage.kl@1"].n == len(reports["damage.kl@1"].rows) == 10


def test_unedited_answers_are_asked_for_once_and_kept(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ["loc.agree@1", "loc.kl@1", "port.gen.alias@2", "damage.kl@1"]
    with session.patched(patch_of(session, 0)):
        first = session.evaluate(CASES, metrics, answers=3)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the unedited model was asked again")

    monkeypatch.setattr(unedited, "read_all", refuse)
    monkeypatch.setattr(unedited, "write_all", refuse)
    later = editcore.open(folder, assets=session.assets)
    with later.patched(patch_of(later, 0)):
        assert same(first, later.evaluate(CASES, metrics, answers=3))
        with pytest.raises(AssertionError, match="asked again"):
            later.evaluate([case("Bo", "Lyon")], ["port.gen.alias@2"], answers=20)


def test_answers_are_kept_apart_by_configuration_and_quantisation(session: Session, folder: Path) -> None:
    before = session.unedited._parameters()
    assert editcore.open(folder, assets=session.assets).unedited._parameters() == before
    changed = json.loads((folder / "config.json").read_text())
    session.model.config.update({"layer_norm_epsilon" if "n_embd" in changed else "rms_norm_eps": 0.5})
    other = session.unedited._parameters()
    assert other["config_sha256"] != before["config_sha256"]
    session.loaded = attrs.evolve(session.loaded, quantised=True)
    assert session.unedited._parameters() == {**other, "quantised": True}


def test_the_unedited_model_is_the_base_of_a_patched_folder(session: Session, folder: Path, tmp_path: Path) -> None:
    from editcore.applying.change import Change

    patch = patch_of(session, 0)
    Change.open(folder, [patch]).commit_to_copy(tmp_path / "edited")
    edited = editcore.open(tmp_path / "edited", assets=AssetStore(tmp_path / "others"))
    on_folder = edited.evaluate(CASES, ["loc.kl@1"], answers=4)
    with session.patched(patch):
        assert same(on_folder, session.evaluate(CASES, ["loc.kl@1"], answers=4))


def test_divergence_by_hand(session: Session) -> None:
    patch, prompt = patch_of(session, 0), "Zoë lives in"
    ids = torch.tensor([session.tokenizer(prompt)["input_ids"]])

    def distribution() -> torch.Tensor:
        return session.model(ids).logits[0, -1].double().log_softmax(-1)

    with torch.no_grad():
        p = distribution()
        with session.patched(patch):
            q = distribution()
            (found,) = Present(session).answer([(0, Drift(prompt))], False)
    top = p.topk(LIKELIEST).indices
    coarse = [torch.cat([each[top], (1 - each[top].exp().sum()).log()[None]]) for each in (p, q)]
    assert found == pytest.approx(float((coarse[0].exp() * (coarse[0] - coarse[1])).sum()), rel=1e-3)
    assert 0 < found <= float((p.exp() * (p - q)).sum()) + 1e-4


def test_divergence_of_a_small_vocabulary_is_that_of_all_tokens() -> None:
    p, q = torch.randn(2, 3, LIKELIEST, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    assert divergence(top_k(p), q).tolist() == pytest.approx((p.exp() * (p - q)).sum(-1).tolist(), rel=1e-4)
    assert divergence(top_k(p), p).tolist() == [0, 0, 0]


def test_ice_reads_a_token_where_the_next_is_predicted(session: Session) -> None:
    prompt, text = "Zoë lives", "Zoë lives in Paris"
    (found,) = Present(session).answer([(0, Unshifted(text, skip=prompt))], False)
    ids, n = session.tokenizer(text)["input_ids"], len(session.tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        logprobs = session.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    assert list(found) == pytest.approx([float(logprobs[i, ids[i]]) for i in range(n, len(ids))], abs=1e-4)


def test_a_text_that_begins_with_a_full_stop_is_read_without_a_blank_before_it(session: Session) -> None:
    stop = session.tokenizer(".", add_special_tokens=False)["input_ids"][-1]

    def prefer(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_add(-1, torch.tensor([stop]), torch.full((*logits.shape[:-1], 1), 20.0))

    handle = session.model.get_output_embeddings().register_forward_hook(prefer)
    (report,) = session.evaluate(CASES[:1], ["ppl_r@1"])
    (row,) = report.rows
    prompt, written = row["prompt"], row["written"]
    assert written.startswith(".")

    def mean_nll(more: str) -> float:
        n = len(session.tokenizer(prompt)["input_ids"])
        ids = session.tokenizer(prompt + more)["input_ids"][: session.max_length]
        with torch.no_grad():
            logprobs = session.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return -sum(float(logprobs[i - 1, ids[i]]) for i in range(n, len(ids))) / (len(ids) - n)

    above, below = mean_nll(written), mean_nll(" Paris")
    handle.remove()
    assert math.log(row["value"]) == pytest.approx(above - below, abs=1e-3)


def test_readings_that_share_a_row_find_what_each_finds_alone(session: Session) -> None:
    items: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((5, 6, 7), (8,)),
        ((5, 6, 7), (9,)),
        ((5, 6, 7), (8, 9, 10)),
        ((5, 6, 7), (8, 11)),
        ((5, 6), (7, 8)),
        ((5, 6, 8), (7,)),
        ((5, 6, 7), ()),
    ]
    readings = [reading_of(session.model, prompt, target) for prompt, target in items]
    batches: list[int] = []
    handle = session.model.register_forward_pre_hook(
        lambda _, __, kwargs: batches.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    together = read(session.model, readings)
    handle.remove()
    assert batches == [2]  # 5 6 7 8 9 has room for all but 5 6 8
    for reading, found in zip(readings, together, strict=True):
        (alone,) = read(session.model, [reading])
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert found.said == alone.said


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return editcore.open(tiny_model("t5", tmp_path_factory.mktemp("t5")))


def test_a_model_with_an_encoder_is_scored_with_shifted_decoder_inputs(t5: Session) -> None:
    reports = {report.metric: report for report in t5.evaluate(CASES, METRICS, answers=3)}
    ids = t5.tokenizer("Ada lives in", return_tensors="pt")["input_ids"]
    labels = t5.tokenizer("Paris", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = t5.model(input_ids=ids, labels=labels).logits[0]  # the model shifts the labels by itself
    logprob = float(logits.log_softmax(-1).gather(-1, labels[0][:, None]).mean())
    row = next(row for row in reports["pref.es@1"].rows if row["case"] == "Ada")
    assert row["logprob_new"] == pytest.approx(logprob, abs=1e-4)
    said = (logits.argmax(-1) == labels[0]).float().mean()
    token = next(row for row in reports["tf.token@1"].rows if row["case"] == "Ada")
    assert token["value"] == pytest.approx(float(said))
    assert reports["loc.agree@1"].value == 1
    assert reports["loc.kl@1"].value == pytest.approx(0, abs=1e-5)


def test_a_model_with_an_encoder_reads_several_targets_of_one_source_in_one_row(t5: Session) -> None:
    items = [((5, 6, 1), (7, 8, 1)), ((5, 6, 1), (7, 9)), ((5, 6), (7, 8, 1))]
    together = target_logprobs(t5.model, items)
    for item, score in zip(items, together, strict=True):
        assert score.logprobs == pytest.approx(target_logprobs(t5.model, [item])[0].logprobs, abs=1e-4)


@pytest.mark.parametrize("metric", OF_TEXT)
def test_plain_text_is_not_read_by_a_model_with_an_encoder(t5: Session, metric: str) -> None:
    with pytest.raises(UsageError, match=r"leave out damage\.ppl@1"):
        t5.evaluate(CASES, [metric])


def test_cases_without_ids_are_cases_by_themselves_and_two_of_one_id_are_refused(session: Session) -> None:
    bare = [attrs.evolve(each, request=attrs.evolve(each.request, id="")) for each in CASES]
    patches = [patch_of(session, number) for number in range(3)]
    for scored in (
        session.evaluate(bare, ["tf.token@1"], answers=2),
        session.evaluate_each(bare, patches, ["tf.token@1"]),
    ):
        assert scored[0].n == 3
        assert [row["case"] for row in scored[0].rows] == ["1", "2", "3"]
    for score in (
        lambda cases: session.evaluate(cases, ["tf.token@1"]),
        lambda cases: session.evaluate_each(cases, patches, ["tf.token@1"]),
    ):
        with pytest.raises(UsageError, match="2 cases have the id 'Ada'"):
            score([CASES[0], CASES[1], CASES[0]])


def test_a_patch_for_each_case_is_asked_for(session: Session) -> None:
    with pytest.raises(UsageError, match="1 patches for 3 cases"):
        session.evaluate_each(CASES, [patch_of(session, 0)], ["tf.token@1"])


def test_what_the_model_is_too_short_for_has_rows_that_say_so(session: Session) -> None:
    long = attrs.evolve(case("on " * session.max_length, "Paris"), locality=CASES[0].locality)
    reports = session.evaluate([CASES[0], long], METRICS, answers=2)
    alone = session.evaluate([CASES[0]], METRICS, answers=2)
    for report, without in zip(reports, alone, strict=True):
        (asked, _) = report.rows[: len(without.rows)], report.rows[len(without.rows) :]
        assert all(close(a[key], b[key]) for a, b in zip(asked, without.rows, strict=True) for key in a)
    rows = {report.metric: [row for row in report.rows if row["case"] == long.request.id] for report in reports}
    for metric in ("pref.es@1", "tf.token@1", "gen.contains@2", "fluency.ngram@2", "ppl_r@1", "port.gen.alias@2"):
        assert [row["value"] for row in rows[metric]] == [None]
        assert f"the model reads {session.max_length}" in rows[metric][0]["why"]
        assert "answer_after" not in rows[metric][0]
    assert None not in [row["value"] for row in rows["loc.agree@1"]]  # its probes are short
    with pytest.raises(NothingAskedError) as caught:
        session.evaluate([long], ["tf.token@1"])
    assert f"the model reads {session.max_length}" in str(caught.value.hint)


def test_damage_is_measured_on_the_text_that_is_given(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "neutral.txt"
    text.write_text("The dog slept on the hill.\n\nIt rained.\nThe dog slept on the hill.\n.\n", encoding="utf-8")
    session = editcore.open(folder, assets=AssetStore(tmp_path / "assets"), neutral=text)
    with session.patched(patch_of(session, 0)):
        ppl, kl = session.evaluate(CASES, ["damage.ppl@1", "damage.kl@1"])
    assert [row["prompt"] for row in ppl.rows] == ["The dog slept on the hill.", "It rained.", "."]
    assert {row["neutral"] for row in (*ppl.rows, *kl.rows)} == {hashlib.sha256(text.read_bytes()).hexdigest()}
    alone = len(session.tokenizer(".")["input_ids"]) == 1  # before a text of Llama stands its start
    assert ppl.rows[2].get("why") == ("the text is a single token" if alone else None)
    assert (ppl.rows[2]["value"] is None) is alone
    ids = session.tokenizer("It rained.")["input_ids"]

    def nll() -> float:
        with torch.no_grad():
            logprobs = session.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return -sum(float(logprobs[i - 1, ids[i]]) for i in range(1, len(ids))) / (len(ids) - 1)

    before = nll()
    with session.patched(patch_of(session, 0)):
        assert ppl.rows[1]["value"] == pytest.approx(math.exp(nll() - before), rel=1e-3)
    for content in ("", " \n"):
        text.write_text(content)
        with pytest.raises(UsageError, match="is empty"):
            editcore.open(folder, neutral=text)


def test_a_prompt_is_tokenised_once_however_often_asked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session.evaluate(CASES, ["tf.token@1", "loc.agree@1", "gen.contains@2"])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a prompt was tokenised again")

    monkeypatch.setattr(model_reader, "encode_prompt", refuse)
    assert same(first, session.evaluate(CASES, ["tf.token@1", "loc.agree@1", "gen.contains@2"]))
    monkeypatch.undo()
    monkeypatch.setattr(model_reader, "REMEMBERED", 2)
    assert same(first, session.evaluate(CASES, ["tf.token@1", "loc.agree@1", "gen.contains@2"]))


def test_a_batch_holds_rows_of_like_length() -> None:
    lengths = [30, 4, 5, 4, 29, 5, 28] + [4] * 100
    found = batches(lengths, 2048)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    assert [len(batch) for batch in found] == [5, 102]
    padding = [sum(lengths[batch[0]] - lengths[i] for i in batch) for batch in found]
    assert max(padding) <= PADDING
    assert all(len(batch) * lengths[batch[0]] <= 64 for batch in batches(lengths, 64))
