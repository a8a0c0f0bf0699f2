"""Which tokens second moments are over, what a limit of time does to them, and the ridge that they need."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError
from editcore.assets.store import AssetStore
from editcore.session.talk import Silence
from editcore.text.neutral import PASSAGES
from editcore_hooks import UsageError
from editcore_keyvalue import budget, reading, windows
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.corpus import ROWS_PER_CHUNK, SelfCorpus, bundled_text, open_corpus
from editcore_keyvalue.hparams import KeyValueHparams
from editcore_keyvalue.moments import Moment
from editcore_keyvalue.notices import moment_notes, say_large
from editcore_keyvalue.ridge import LARGEST, by_spectrum, ridge_of
from editcore_keyvalue.store import MomentRequest, second_moments


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path / "assets"))


class _Heard(Silence):
    """The messages, and warnings apart."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


def hear(session: editcore.Session) -> _Heard:
    session.talk = heard = _Heard()
    return heard


def rows_of(session: editcore.Session, name: str) -> list[list[int]]:
    return [row for chunk in open_corpus(name).chunks(session) for row in chunk]


# --- documents ---------------------------------------------------------------------------------------------------


def test_a_text_without_blank_lines_is_read_line_by_line() -> None:
    assert list(windows.documents_of("Ada is here.\nBo is not.\n")) == ["Ada is here.", "Bo is not."]
    assert list(windows.documents_of("Ada\nis here.\n \nBo is not.")) == ["Ada\nis here.", "Bo is not."]


def test_one_sentence_a_line_gives_every_token_of_the_file(session: editcore.Session, tmp_path: Path) -> None:
    lines = [f"Ada Marlow works as a pilot in town {i}." for i in range(300)]
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(lines) + "\n")
    there = sum(len(session.tokenizer(line)["input_ids"]) for line in lines)
    assert there > 2 * session.max_length  # as one row most of it would be cut off
    moment, _ = second_moments(session, [0], MomentRequest(str(path), 100_000))[0]
    assert moment.count == there


def test_a_long_document_is_cut_into_windows_and_nothing_is_lost(session: editcore.Session, tmp_path: Path) -> None:
    document = " ".join(f"Bo Quist lives in house {i}." for i in range(400))
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"text": document}) + "\n")
    rows = rows_of(session, str(path))
    longest = min(windows.WINDOW, session.max_length)
    assert max(map(len, rows)) == longest
    assert sorted(map(len, rows))[1:] == [longest] * (len(rows) - 1)
    lead = len(session.tokenizer("a")["input_ids"]) - len(session.tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = len(session.tokenizer(document, add_special_tokens=False)["input_ids"])
    assert sum(len(row) - lead for row in rows) == whole


def test_rows_of_a_chunk_are_alike_in_length_and_few_enough() -> None:
    rows = [[1] * (1 + i * 7 % 90) for i in range(200)]
    chunks = list(windows.chunked(iter(rows)))
    assert sorted(map(len, rows)) == sorted(len(row) for chunk in chunks for row in chunk)
    padded = [len(chunk) * max(map(len, chunk)) for chunk in chunks]
    assert max(padded) <= windows.TOKENS_PER_CHUNK
    assert sum(padded) < 1.2 * sum(map(len, rows))


def test_text_chunks_are_the_same_from_any_start(session: editcore.Session) -> None:
    corpus = open_corpus("bundled")
    chunks = list(corpus.chunks(session))
    assert len(chunks) > 2
    assert next(corpus.chunks(session, 2)) == chunks[2]


def test_a_file_that_is_no_text_is_refused(session: editcore.Session, tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("Málaga".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.txt is not UTF-8"):
        second_moments(session, [0], MomentRequest(str(path)))
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UsageError, match="no text"):
        second_moments(session, [0], MomentRequest(str(tmp_path / "empty.txt")))


def test_the_bundled_text_shares_nothing_with_the_text_that_damage_is_measured_on() -> None:
    sentences = {sentence.strip() for passage in PASSAGES for sentence in passage.split(".") if sentence.strip()}
    assert not [sentence for sentence in sentences if sentence in bundled_text()]


# --- auto --------------------------------------------------------------------------------------------------------


def test_auto_takes_the_bundled_text_only_where_the_model_reads_it(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not reading.reads(session)  # a model with random weights
    assert second_moments(session, [0], MomentRequest(tokens=600))[0][0].corpus == "self"
    monkeypatch.setattr(reading, "READS_WELL", math.inf)
    monkeypatch.setattr(reading, "UNKNOWN", 1.0)
    again = editcore.open(session.checkpoint.folder, assets=session.assets)
    assert second_moments(again, [0], MomentRequest(tokens=600))[0][0].corpus == "bundled"


def test_a_tokenizer_that_knows_nothing_of_the_bundled_text_is_no_error(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "bare", lambda *_: ())
    assert not reading.reads(session)


def test_keys_too_wide_for_the_bundled_text_are_read_from_the_model(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READS_WELL", math.inf)
    assert isinstance(reading.choose(session, "auto", 1_000_000), SelfCorpus)


def test_the_whole_bundled_text_is_read_once_and_then_enough(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = hear(session)
    moment, asset = second_moments(session, [0], MomentRequest("bundled", 1_000_000))[0]
    assert moment.count == sum(map(len, rows_of(session, "bundled")))
    assert not moment.wanted
    assert f"reading all {moment.count:,} tokens of the bundled text" in heard.said[0]
    assert second_moments(session, [0], MomentRequest("bundled", 1_000_000))[0][1].sha256 == asset.sha256
    assert len(heard.said) == 1


# --- limits of time ----------------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let a token take so many seconds, by the measure that budgets are made of."""

    def set_speed(seconds: float) -> None:
        monkeypatch.setattr(budget, "seconds_a_token", lambda *_: seconds)

    return set_speed


def test_a_machine_a_little_busier_gives_the_same_tokens(
    session: editcore.Session, slow: Callable[[float], None]
) -> None:
    found = set()
    for busier in (1.0, 1.2, 1.5, 1.9):
        slow(0.01 * busier)
        found.add(budget.budget(session, SelfCorpus(), [0], 20_000, limit=124.0).tokens)
    assert found == {5_000}
    assert budget.budget(session, SelfCorpus(), [0], 20_000, math.inf).tokens == 20_000


def test_without_a_limit_all_tokens_are_read_however_slow(
    session: editcore.Session, slow: Callable[[float], None]
) -> None:
    slow(1e6)
    assert second_moments(session, [0], MomentRequest(tokens=5_000))[0][0].count == 5_000
    assert KeyValueHparams().mom2_seconds == 0
    assert MomentRequest.of(KeyValueHparams()).seconds == math.inf


def test_a_cut_pass_is_noted_warned_of_and_not_what_the_next_session_uses(
    session: editcore.Session, slow: Callable[[float], None]
) -> None:
    heard = hear(session)
    slow(0.01)
    cut, asset = second_moments(session, [0], MomentRequest(tokens=8_192, seconds=60.0))[0]
    assert (cut.count, cut.wanted) == (4_096, 8_192)
    assert moment_notes({0: cut})["mom2_wanted"] == {"0": 8_192}
    assert "over 4,096 of 8,192 tokens" in heard.warned[0]
    assert second_moments(session, [0], MomentRequest(tokens=8_192))[0][1].sha256 == asset.sha256
    again = editcore.open(session.checkpoint.folder, assets=session.assets)
    whole, _ = second_moments(again, [0], MomentRequest(tokens=8_192))[0]
    assert (whole.count, whole.wanted) == (8_192, 0)
    assert second_moments(again, [0], MomentRequest(tokens=4_096))[0][0].wanted == 0


def test_sampling_looks_at_the_time_at_every_token(session: editcore.Session) -> None:
    asked: list[int] = []

    def proceed(drawn: int) -> bool:
        asked.append(drawn)
        return drawn < 20

    chunks = list(SelfCorpus().chunks(session, proceed=proceed))
    assert asked == list(range(21))
    assert [len(row) for row in chunks[0]] == [21] * ROWS_PER_CHUNK
    assert chunks[0] == next(SelfCorpus(21).chunks(session))
    assert len(chunks) == 1
    assert list(SelfCorpus().chunks(session, 1, proceed=proceed)) == []  # later chunks are whole or not there
    assert SelfCorpus().holding(session, 21 * ROWS_PER_CHUNK) == SelfCorpus(21)


# --- ridge -------------------------------------------------------------------------------------------------------


def spectrum(f: int, tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A second moment (f, f) with eigenvalues that fall as 1/i, and its estimate from so many keys."""
    generator = torch.Generator().manual_seed(seed)
    scale = 1 / torch.arange(1, f + 1, dtype=torch.float64)
    keys = torch.randn(tokens, f, generator=generator, dtype=torch.float64) * scale.sqrt()
    return torch.diag(scale), keys.T @ keys / tokens


def test_the_ridge_by_the_spectrum_is_the_formula_and_falls_with_the_tokens() -> None:
    _, c = spectrum(64, 200)
    f, n = 64, 200
    square, trace = float((c @ c).trace()), float(c.trace())
    rho = ((1 - 2 / f) * square + trace**2) / ((n + 1 - 2 / f) * (square - trace**2 / f))
    assert by_spectrum(c, n) == pytest.approx(rho / (1 - rho), rel=0.05)
    assert by_spectrum(c, 50) > by_spectrum(c, 200) > by_spectrum(c, 20_000) > 0
    assert by_spectrum(torch.eye(8), 100) == by_spectrum(c, 1) == LARGEST


@pytest.mark.parametrize("tokens", [24, 96, 640])
def test_the_ridge_by_the_spectrum_brings_an_update_nearer_to_that_of_the_true_moment(tokens: int) -> None:
    """At fewer tokens than directions, and at ten a direction, than the fixed 1e-6 does."""
    f = 64
    true, c = spectrum(f, tokens)
    key = torch.ones(f, dtype=torch.float64)

    def harm(ridge: float) -> float:
        """E[(uᵀk)²] over ordinary keys where uᵀk* = 1."""
        u = torch.cholesky_solve(key[:, None], factor(c, ridge))[:, 0]
        return float((u @ true @ u) / (u @ key) ** 2)

    assert harm(by_spectrum(c, tokens)) < harm(1e-6)


def test_fewer_tokens_than_directions_are_a_warning_and_no_error(session: editcore.Session, tmp_path: Path) -> None:
    heard = hear(session)
    path = tmp_path / "short.txt"
    path.write_text("Ada Marlow works as a pilot.\nBo Quist lives in Cairo.\n")
    moment, _ = second_moments(session, [1], MomentRequest(str(path)))[1]
    assert moment.count < session.anatomy.mlp_width
    factor(moment.mean, ridge_of(moment, None))
    assert "fewer than" in heard.warned[0]
    assert "--set mom2_corpus=FILE" in heard.warned[0]
    with pytest.raises(EditcoreError, match="not positive definite with a ridge of 0") as caught:
        factor(moment.mean, ridge_of(moment, 0.0))
    assert "leave mom2_ridge out" in str(caught.value.hint)


def test_an_update_larger_than_its_weight_is_a_warning_with_what_to_do(session: editcore.Session) -> None:
    heard = hear(session)
    say_large(session, {3: 0.4, 4: 1.0}, "MEMIT")
    assert heard.warned == []
    say_large(session, {3: 1.5, 4: 2.9}, "MEMIT")
    assert heard.warned[0].startswith("the update of layer 4 is 2.9 times as large as the weight itself")
    assert "editcore tune MODEL --method memit" in heard.warned[0]
    assert "editcore stats MODEL --layers 4" in heard.warned[0]


def test_a_talk_that_knows_no_warnings_says_them(session: editcore.Session) -> None:
    said: list[str] = []

    class Plain:
        def say(self, text: str) -> None:
            said.append(text)

        def progress(self, label: str, total: int) -> AbstractContextManager[Any]:
            return Silence().progress(label, total)

    session.talk = Plain()
    session.warn("mind the gap")
    assert said == ["warning: mind the gap"]


def test_notes_name_corpus_tokens_and_ridge() -> None:
    moments = {2: Moment(torch.eye(2), 100, "bundled"), 3: Moment(torch.eye(2), 100, "bundled")}
    assert moment_notes(moments, {2: 0.01, 3: 0.02}) == {
        "mom2_count": {"2": 100, "3": 100}, "mom2_corpus": "bundled", "mom2_ridge": {"2": 0.01, "3": 0.02},
    }  # fmt: skip
