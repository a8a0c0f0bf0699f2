"""Contexts, rows, corpora, moments and their store."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from attrs import evolve
from click.testing import CliRunner

import editcore
from editcore import EditcoreError, EditRequest
from editcore.assets.store import AssetStore
from editcore.cli.output import Output
from editcore_hooks import ChatTemplate, Site, UsageError
from editcore_keyvalue.cholesky import factor, solve
from editcore_keyvalue.cli import parse_layers, stats
from editcore_keyvalue.contexts import (
    as_template,
    beginnings,
    check_contexts,
    in_context,
    made_up,
    sample_contexts,
)
from editcore_keyvalue.corpus import SelfCorpus, open_corpus, take
from editcore_keyvalue.hparams import tokens_by_width
from editcore_keyvalue.moments import Accumulator
from editcore_keyvalue.rows import KL_APART, EditRows, edit_rows, lay_out
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.value import Stop, Value, ValueSettings, in_batches, optimise_values

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
OTHER = EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2")


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path / "assets"))


def test_contexts_are_seeded_and_begin_with_the_clean_prompt(session: editcore.Session) -> None:
    contexts = sample_contexts(session, (5, 10), 3)
    assert contexts == sample_contexts(session, (5, 10), 3)
    assert contexts[0] == "{}"
    assert len(contexts) == 7
    assert all(context.endswith("{}") and context.count("{}") == 1 for context in contexts)
    assert sample_contexts(session, (5, 10), 0) == ("{}",)
    session.seed = 1
    assert sample_contexts(session, (5, 10), 3) != contexts


def test_sampling_contexts_leaves_the_global_generator_alone(session: editcore.Session) -> None:
    state = torch.get_rng_state()
    sample_contexts(session, (5,), 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sampled_text_becomes_a_template_on_one_line() -> None:
    assert as_template("so {it}\n\n is") == "so it is. {}"
    assert as_template(" \n") == "{}"


def test_made_up_subjects_have_whole_characters_and_a_letter(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ("The town {}", "\ufffd\ufffd {}", "Half \ufffd {}", "20. {}", "{}", "東京 {}", "The town {}")
    monkeypatch.setattr("editcore_keyvalue.contexts.beginnings", lambda session, count: written)
    assert made_up(session, 7) == ("The town", "東京")


def test_beginnings_are_seeded_and_leave_a_sentence_open(session: editcore.Session) -> None:
    found = beginnings(session, 6)
    assert len(found) == 6
    assert all(text.endswith("{}") and ". {}" not in text[-4:] for text in found)
    assert beginnings(session, 0) == ()
    again = editcore.open(session.loaded.folder, assets=session.assets)
    assert beginnings(again, 6) == found


def test_given_contexts_get_the_clean_prompt_and_need_a_mark() -> None:
    assert check_contexts(["So. {}", "{}"]) == ("{}", "So. {}")
    with pytest.raises(UsageError, match=r"no \{\}"):
        check_contexts(["So."])


def test_a_context_with_braces_stays_a_text() -> None:
    request = in_context(REQUEST, "{{x}} holds. {}")
    assert request.rendered().text == "{x} holds. Ada Marlow works as a"


def test_rows_point_at_the_subject_and_score_the_target(session: editcore.Session) -> None:
    rows = edit_rows(session, REQUEST, ("{}", "Bo Quist lives in Rome. {}"), "subject_last")
    tokens = session.tokenizer.convert_ids_to_tokens
    target = tuple(session.tokenizer("pilot", add_special_tokens=False)["input_ids"])
    assert len(rows.contexts) == 2
    for row in rows.contexts:
        assert tokens(row.ids[row.s]) == "▁Marlow"
        assert tokens(row.ids[row.scored[0]]) == "▁a"
        assert row.labels == target
        assert row.ids[row.scored[0] + 1 :] == target[:-1]
    assert tokens(list(rows.kl.ids))[-1] == "▁Marlow"
    assert rows.kl.s == len(rows.kl.ids) - 1


def test_with_eos_the_end_of_the_answer_is_scored_after_it(session: editcore.Session) -> None:
    (plain,), (ended,) = (
        edit_rows(session, REQUEST, ("{}",), "subject_last", eos=eos).contexts for eos in (False, True)
    )
    assert ended.labels == (*plain.labels, session.tokenizer.eos_token_id)
    assert ended.ids == (*plain.ids, plain.labels[-1])
    assert ended.scored == (*plain.scored, len(plain.ids))
    assert ended.s == plain.s


def test_an_answer_in_a_chat_ends_the_turn_unless_told_otherwise(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{% for message in messages %}{{ message.content }}{% endfor %} "
    monkeypatch.setattr(session.tokenizer, "chat_template", template)
    asked = evolve(REQUEST, template=ChatTemplate())
    (chat,), (plain,), (told,) = (
        edit_rows(session, request, ("{}",), "subject_last", eos=eos).contexts
        for request, eos in ((asked, None), (REQUEST, None), (asked, False))
    )
    end = session.tokenizer.eos_token_id
    assert chat.labels == (*told.labels, end)
    assert end not in plain.labels


def test_a_layout_has_every_edited_token_in_one_column_and_weighs_contexts_alike(session: editcore.Session) -> None:
    contexts = ("{}", "Bo Quist lives in Rome. {}")
    edits = [edit_rows(session, request, contexts, "subject_last") for request in (REQUEST, OTHER)]
    layout = lay_out(edits, session.device)
    (part,) = layout.parts
    # REQUEST begins with its subject, so that its KL row is read in its clean one
    rows = [*edits[0].contexts, *edits[1].contexts, edits[1].kl]
    assert part.batch.ids[:, part.start].tolist() == [row.ids[row.s] for row in rows]
    assert part.edit.tolist() == [0, 0, 1, 1, 1]
    assert layout.clean.tolist() == [0, 2]
    assert layout.nll(torch.full((len(layout.labels), 500), -2.0)).tolist() == pytest.approx([2.0, 2.0])
    scored = [(r, part.start + c) for r, c in zip(*(each.tolist() for each in part.at), strict=True)]
    n = len(layout.labels)
    for (r, column), label in zip(scored[:n], layout.labels.tolist(), strict=True):
        ids = part.batch.ids[r].tolist()
        assert column == len(ids) - 1 or ids[column + 1] in (label, 0)
    assert [scored[i] for i in layout.kl] == [(0, part.start), (4, part.start)]


def test_kl_rows_of_many_edits_are_not_padded_to_their_prompts(session: editcore.Session) -> None:
    edits = [edit_rows(session, request, ("{}",), "subject_last") for request in (OTHER, REQUEST) * KL_APART]
    first, alone = lay_out(edits, session.device).parts
    assert len(first.edit) == len(edits)
    assert alone.batch.ids.shape[1] == alone.start + 1
    assert alone.edit.tolist() == list(range(0, len(edits), 2))


def test_many_edits_together_have_the_values_of_few(session: editcore.Session) -> None:
    """Their KL rows are in a part of their own, which is empty once only the others are left."""
    settings = ValueSettings(steps=12, lr=0.2, weight_decay=0.01, kl=0.5, clamp=8.0, stop="loss")
    requests = [
        *(EditRequest("The home of {} is in", "Bo Quist", "Cairo", id=str(i)) for i in range(KL_APART)),
        REQUEST,
    ]
    edits = [edit_rows(session, request, ("{}", "So it is. {}"), "subject_last") for request in requests]

    def run(chosen: list[EditRows]) -> list[Value]:
        return optimise_values(session.anatomy, chosen, Site("mlp_out", 1), settings, lambda n: None)

    together, few = run(edits), run(edits[-2:])
    for value, alone in zip(together[-2:], few, strict=True):
        assert value.steps == alone.steps
        assert value.losses == pytest.approx(alone.losses, rel=1e-3, abs=1e-3)


def test_a_layout_of_fewer_edits_reads_what_theirs_would(session: editcore.Session) -> None:
    edits = [edit_rows(session, request, ("{}",), "subject_last") for request in (OTHER, REQUEST) * KL_APART]
    kept = torch.tensor([1, 4, 6])
    (first, alone), (own,) = (
        lay_out(edits, session.device).parts,
        lay_out([edits[i] for i in kept], session.device).parts,
    )
    layout, rows = lay_out(edits, session.device).keeping(kept)
    assert [each.tolist() for each in rows] == [[1, 4, 6], [2, 3]]
    assert torch.equal(layout.parts[0].batch.ids, first.batch.ids[kept])
    assert torch.equal(layout.parts[1].batch.ids, alone.batch.ids[[2, 3]])
    assert [part.edit.tolist() for part in layout.parts] == [[0, 1, 2], [1, 2]]
    logits = sum(len(part.at[0]) for part in layout.parts)
    assert logits == len(own.at[0])
    assert sorted([*range(len(layout.labels)), *layout.kl.tolist()]) == list(range(logits))


@pytest.mark.parametrize("stop", ["loss", "argmax", "never"])
def test_an_edit_is_the_same_in_any_company(session: editcore.Session, stop: Stop) -> None:
    """Edits that stop at different steps leave the others as they are; so does the order."""
    settings = ValueSettings(steps=25, lr=0.2, weight_decay=0.01, clamp=8.0, stop=stop)
    requests = [
        REQUEST,
        OTHER,
        EditRequest("{} lives in", "Cleo Quist", "Rome", id="3"),
        EditRequest("{} works as a", "Dan Tolland", "poet", id="4"),
    ]
    edits = [edit_rows(session, request, ("{}", "So it is. {}"), "subject_last") for request in requests]

    def run(chosen: list[EditRows]) -> list[Value]:
        return optimise_values(session.anatomy, chosen, Site("mlp_out", 1), settings, lambda n: None, snapshots=(3,))

    alone = [run([edit])[0] for edit in edits]
    assert len({value.steps for value in alone}) > 1 or stop == "never"
    for chosen in ([0, 1, 2, 3], [3, 1, 0, 2]):
        for one, value in zip(chosen, run([edits[i] for i in chosen]), strict=True):
            assert value.steps == alone[one].steps
            torch.testing.assert_close(value.at[3], alone[one].at[3], rtol=1e-3, atol=1e-3)
            assert value.losses[:4] == pytest.approx(alone[one].losses[:4], rel=1e-3)
            torch.testing.assert_close(value.keys, alone[one].keys, rtol=1e-5, atol=1e-5)


def test_a_snapshot_is_the_value_of_a_shorter_run(session: editcore.Session) -> None:
    edits = [edit_rows(session, REQUEST, ("{}",), "subject_last")]
    long, short = (
        optimise_values(
            session.anatomy,
            edits,
            Site("mlp_out", 1),
            ValueSettings(steps, stop="never"),
            lambda n: None,
            snapshots=[4],
        )[0]
        for steps in (9, 4)
    )
    torch.testing.assert_close(long.at[4], short.delta, rtol=1e-4, atol=1e-5)
    assert torch.equal(short.at[4], short.delta)


def test_edits_are_batched_by_their_tokens(session: editcore.Session) -> None:
    edits = [edit_rows(session, REQUEST, ("{}",) * 30, "subject_last")] * 40
    batches = in_batches(edits)
    assert [edit for batch in batches for edit in batch] == edits
    assert 1 < len(batches) < 40


def test_moments_do_not_depend_on_how_rows_are_batched(session: editcore.Session) -> None:
    ids = [session.tokenizer(text)["input_ids"] for text in ("Ada Marlow lives in Rome.", "Bo.", "Eve Quist works as")]
    together, alone = Accumulator(session, [1, 2]), Accumulator(session, [1, 2])
    together.add(ids)
    for row in ids:
        alone.add([row])
    for layer in (1, 2):
        assert together.moments()[layer].count == alone.moments()[layer].count == sum(map(len, ids))
        torch.testing.assert_close(together.moments()[layer].mean, alone.moments()[layer].mean, rtol=1e-4, atol=1e-6)


def test_the_model_as_corpus_gives_the_same_chunks_from_any_start(session: editcore.Session) -> None:
    corpus = SelfCorpus(length=16)
    first = [chunk for chunk, _ in zip(corpus.chunks(session), range(3), strict=False)]
    assert next(corpus.chunks(session, 2)) == first[2]
    assert first[0] != first[1]


def test_take_gives_exactly_as_many_tokens_as_asked() -> None:
    def chunks() -> Iterator[list[list[int]]]:
        while True:
            yield [[1, 2, 3], [4, 5]]

    assert list(take(chunks(), 8)) == [[[1, 2, 3], [4, 5]], [[1, 2, 3]]]
    assert list(take(iter([[[1, 2]]]), 8)) == [[[1, 2]]]


def test_all_layers_are_collected_once_and_kept(session: editcore.Session, llama_folder: Path) -> None:
    first = second_moments(session, [0, 2], MomentRequest(tokens=500))
    assert [moment.count for moment, _ in first.values()] == [500, 500]
    again = editcore.open(llama_folder, assets=session.assets)
    said: list[str] = []
    again.talk = _Talk(said)
    second = second_moments(again, [2], MomentRequest())
    assert said == []
    assert torch.equal(second[2][0].mean, first[2][0].mean)
    assert second[2][1].sha256 == first[2][1].sha256


def test_more_tokens_than_kept_are_collected_anew_and_then_preferred(session: editcore.Session) -> None:
    second_moments(session, [0], MomentRequest(tokens=300))
    assert second_moments(session, [0], MomentRequest(tokens=600))[0][0].count == 600
    assert second_moments(session, [0], MomentRequest())[0][0].count == 600


def test_a_pass_that_was_stopped_is_resumed_to_the_same_bits(
    session: editcore.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = second_moments(session, [1], MomentRequest(tokens=13000))[1][0].mean
    other = editcore.open(session.checkpoint.folder, assets=AssetStore(tmp_path / "other"))
    monkeypatch.setattr("editcore_keyvalue.collecting.SAVE_SECONDS", 0.0)
    add, calls = Accumulator.add, []

    def add_until_killed(self: Accumulator, rows: list[list[int]]) -> int:
        if len(calls) == 4:  # two of them measure the speed
            raise KeyboardInterrupt
        calls.append(1)
        return add(self, rows)

    monkeypatch.setattr(Accumulator, "add", add_until_killed)
    with pytest.raises(KeyboardInterrupt):
        second_moments(other, [1], MomentRequest(tokens=13000))
    monkeypatch.setattr(Accumulator, "add", add)
    said: list[str] = []
    other.talk = _Talk(said)
    resumed = second_moments(other, [1], MomentRequest(tokens=13000))[1][0].mean
    assert any("resuming after" in line for line in said)
    assert torch.equal(resumed, whole)


def test_the_time_limit_is_kept_and_what_it_cut_is_a_warning(session: editcore.Session) -> None:
    said: list[str] = []
    session.talk = _Talk(said)
    moment, _ = second_moments(session, [0], MomentRequest(tokens=100_000, seconds=0.0))[0]
    assert (moment.count, moment.wanted) == (512, 100_000)
    assert "reading 512 tokens sampled" in said[0]
    assert said[-1].startswith("warning: the second moments of the keys of layer 0 are over 512 of 100,000 tokens")


def test_the_time_that_a_search_leaves_is_kept_too(session: editcore.Session) -> None:
    with session.within(0.0):
        moment, _ = second_moments(session, [0], MomentRequest(tokens=30_000))[0]
    assert 0 < moment.count < 30_000


def test_fewer_tokens_than_directions_are_said_once(session: editcore.Session) -> None:
    width, said = session.anatomy.mlp_width, list[str]()
    session.talk = _Talk(said)
    second_moments(session, [0], MomentRequest(tokens=width - 1))
    second_moments(session, [0], MomentRequest())
    few = [text for text in said if "directions of the keys" in text]
    assert len(few) == 1
    assert f"over {width - 1} tokens" in few[0]
    assert f"--tokens {tokens_by_width(width)}" in few[0]
    second_moments(session, [1], MomentRequest(tokens=width))
    assert "directions of the keys" not in said[-1]


def test_a_corpus_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no corpus file"):
        open_corpus(str(tmp_path / "none.txt"))


def test_a_jsonl_corpus_names_the_line_that_does_not_fit(session: editcore.Session, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "Ada."}\n{"txt": 1}\n')
    with pytest.raises(UsageError, match="line 2"):
        second_moments(session, [0], MomentRequest(str(path)))


def test_solving_by_the_factor_equals_the_inverse() -> None:
    torch.manual_seed(0)
    a = torch.randn(40, 12, dtype=torch.float64)
    c, k = a.T @ a / 40, torch.randn(12, 3, dtype=torch.float64)
    expected = torch.linalg.inv(c) @ k
    torch.testing.assert_close(solve(factor(c, 0.0), k), expected)
    torch.testing.assert_close(solve(factor(c, 0.0), k[:, 0]), expected[:, 0])


def test_a_moment_of_too_few_tokens_is_refused_without_a_ridge_and_solved_with_one() -> None:
    k = torch.randn(3, 12)
    c = k.T @ k / 3
    with pytest.raises(EditcoreError, match="not positive definite"):
        factor(c, 0.0)
    assert torch.isfinite(solve(factor(c, 1e-6), k[0])).all()


@pytest.mark.parametrize(("text", "layers"), [("all", [0, 1, 2, 3]), ("2", [2]), ("0,2-3", [0, 2, 3])])
def test_layers_are_read(text: str, layers: list[int]) -> None:
    assert parse_layers(text, 4) == layers


@pytest.mark.parametrize("text", ["4", "x", "1-", ""])
def test_layers_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_layers(text, 4)


def test_stats_collects_and_says_where(llama_folder: Path, tmp_path: Path) -> None:
    arguments = [str(llama_folder), "--layers", "0-1", "--tokens", "300", "--json"]
    done = CliRunner().invoke(stats, arguments, obj=Output(), env={"EDITCORE_CACHE": str(tmp_path)})
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["layer"], row["tokens"]) for row in rows] == [(0, 300), (1, 300)]
    assert all(Path(row["path"]).is_file() for row in rows)


class _Talk:
    def __init__(self, said: list[str]) -> None:
        self.say = said.append

    def progress(self, label: str, total: int):  # type: ignore[no-untyped-def]
        return Output().progress(label, total)
