"""Averages, the lens, the locators inside an edit, and the command with its picture."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.cli import main
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION, tiny_model
from editcore_causal_trace.average import GROUPS, average, roles_of_tokens
from editcore_causal_trace.facts import Fact, read_facts
from editcore_causal_trace.hparams import LensHparams, TraceHparams
from editcore_causal_trace.lens import Lens, first_block, look
from editcore_causal_trace.locate import by_lens, by_trace, first_high
from editcore_causal_trace.trace import Traced, noise_level, trace_fact
from editcore_hooks import PluginError, Site, UsageError

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
DECODERS = [family for family in FAMILIES if not family.startswith("t5") and family not in LINEAR_ATTENTION]


def fact(n: int, subject: range, answer: int = 3) -> Fact:
    return Fact(REQUEST, tuple(range(n)), subject, answer, None)


@pytest.mark.parametrize(
    ("n", "subject", "found"),
    [
        (8, range(1, 4), [[1], [2], [3], [4], [5, 6], [7]]),
        (4, range(2), [[0], [], [1], [2], [], [3]]),
        (3, range(1, 2), [[], [], [1], [], [], [2]]),  # a subject of one token is its last
        (3, range(1, 3), [[1], [], [2], [], [], []]),  # and stays it at the end of the prompt
    ],
)
def test_a_token_is_in_one_group(n: int, subject: range, found: list[list[int]]) -> None:
    assert roles_of_tokens(fact(n, subject)) == dict(zip(GROUPS, found, strict=True))


def test_an_average_is_over_facts_of_the_mean_of_their_tokens() -> None:
    restored = [torch.rand(8, 2), torch.rand(4, 2)]
    facts = [fact(8, range(1, 4)), fact(4, range(2))]
    lows = [0.1, 0.3]
    traced = [Traced(one, 0.9, low, {"mlp": p}) for one, low, p in zip(facts, lows, restored, strict=True)]
    found = average(traced)
    assert (found.n, found.counts) == (2, (2, 1, 2, 2, 1, 2))
    assert found.high == pytest.approx(0.9)
    assert found.low == pytest.approx(0.2)
    effects = found.effects["mlp"]
    torch.testing.assert_close(effects[2], (restored[0][3] - 0.1 + restored[1][1] - 0.3) / 2)
    torch.testing.assert_close(effects[4], (restored[0][5] + restored[0][6]) / 2 - 0.1)
    assert float(found.error["mlp"][4].abs().max()) == 0
    both = torch.stack([restored[0][3] - 0.1, restored[1][1] - 0.3])
    torch.testing.assert_close(found.error["mlp"][2], 1.96 * both.std(0, correction=0) / 2**0.5)


@pytest.mark.parametrize("family", DECODERS)
def test_the_lens_ends_in_what_the_model_says(family: str, tmp_path: Path) -> None:
    session = editcore.open(tiny_model(family, tmp_path))
    (one,) = read_facts(session, [REQUEST])
    lens = look(session, one)
    with torch.no_grad():
        p = session.model(input_ids=torch.tensor([one.ids])).logits[0, -1].softmax(-1)
    assert float(lens.probability[-1]) == pytest.approx(float(p[one.answer]), rel=1e-3)
    assert int(lens.rank[-1]) == 0
    assert len(lens.top) == len(lens.probability) == session.anatomy.n_layers


def test_the_lens_reads_a_block_by_norm_and_head(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    (one,) = read_facts(session, [REQUEST])
    lens, model = look(session, one), session.model
    with torch.no_grad():
        states = model(input_ids=torch.tensor([one.ids]), output_hidden_states=True).hidden_states
        p = model.lm_head(model.model.norm(states[2][0, -1])).softmax(-1)  # what enters block 2 is what block 1 gave
    assert float(lens.probability[1]) == pytest.approx(float(p[one.answer]), rel=1e-4)
    assert int(lens.rank[1]) == int((p > p[one.answer]).sum())


def test_the_first_block_is_that_from_which_on_the_rank_holds() -> None:
    def lens(*ranks: int) -> Lens:
        return Lens(fact(3, range(1)), torch.zeros(len(ranks)), torch.tensor(ranks), ())

    assert first_block(lens(90, 3, 40, 2, 0), 10) == 3
    assert first_block(lens(0, 0, 0), 1) == 0
    assert first_block(lens(50, 40, 30), 10) == 2


def test_a_fact_that_the_model_does_not_know_is_left_out(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    known = EditRequest("{} lives in", "Ada Marlow", "Oslo", "Rome", id="1")  # `testing.taught.facts`
    wrong = EditRequest("{} lives in", "Ada Marlow", "Oslo", "Cairo", id="2")
    assert [one.request.id for one in read_facts(session, [known, wrong])] == ["1"]
    assert [one.request.id for one in read_facts(session, [wrong])] == ["2"]  # rather than nothing
    with pytest.raises(UsageError, match="no fact"):
        read_facts(session, [])


def test_the_trace_takes_the_block_of_the_largest_effect(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    hparams = TraceHparams(samples=3)
    (one,) = read_facts(session, [REQUEST])
    effects = trace_fact(session, one, noise_level(session, [one], 3.0), hparams, ("mlp",)).effects("mlp")
    best = first_high(effects[one.subject[-1]])
    assert by_trace(session, [REQUEST], hparams).sites == (Site("mlp_out", best),)
    several = by_trace(session, [REQUEST], TraceHparams(samples=3, layers=9)).sites
    assert several == tuple(Site("mlp_out", layer) for layer in range(best + 1))
    layer = first_block(look(session, one), 5)
    assert by_lens(session, [REQUEST], LensHparams(rank=5)).sites == (Site("mlp_out", layer),)


def test_of_overlapping_windows_that_tie_the_first_counts() -> None:
    assert first_high(torch.tensor([0.400, 0.401, 0.1])) == 0
    assert first_high(torch.tensor([0.1, 0.2, 0.4, 0.3])) == 2
    assert first_high(torch.tensor([-0.3, -0.1, -0.2])) == 1


def test_an_edit_takes_its_layer_from_a_locator_and_records_it(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    layer = by_trace(session, [REQUEST], TraceHparams(samples=3)).sites[0].layer
    other = 3 if layer == 0 else 0
    hparams: dict[str, Any] = {"layers": [other], "steps": 2}
    options = EditOptions("ft-m", hparams=(("test", hparams),), locator="causal-trace:samples=3")
    patch = session.edit_all([REQUEST], options)
    assert list(patch.targets) == [f"model.layers.{layer}.mlp.down_proj.weight"]
    record = patch.about["locator"]
    assert (record["name"], record["hparams"]["samples"]) == ("causal-trace", 3)
    assert "locator" not in session.edit_all([REQUEST], EditOptions("ft-m", hparams=(("test", hparams),))).about
    assert patch.redact().about["locator"] == record
    for text, message in (("causal-trase", "causal-trace"), ("causal-trace:sample=3", "samples")):
        with pytest.raises((PluginError, UsageError), match=message):
            session.edit_all([REQUEST], EditOptions("ft-m", locator=text))


def locate(*arguments: object) -> int:
    return main(["locate", *map(str, arguments)])


ONE = ("--prompt", REQUEST.prompt, "--subject", REQUEST.subject, "--set", "samples=2")


def test_the_command_prints_tokens_and_draws_them(
    gpt2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    for name in ("trace.png", "trace.svg", "again.svg"):
        assert locate(gpt2_folder, *ONE, "--severed", "--plot", tmp_path / name) == 0
    out = capsys.readouterr().out
    assert all(column in out for column in ("hidden state", "MLP", "attention", "state, MLP severed"))
    assert "works" in out
    png = (tmp_path / "trace.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width > 2 * height > 200
    svg = (tmp_path / "trace.svg").read_text("utf-8")
    assert "restoring MLP outputs" in svg
    assert "works" in svg
    assert (tmp_path / "again.svg").read_text("utf-8") == svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.svg", "trace.png", "trace.svg"]


def test_the_command_averages_many_facts_as_json(
    gpt2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": "a", "prompt": "{} works as a", "subject": "Ada Marlow", "target_new": "pilot"},
        {"id": "b", "prompt": "The home of {} is in", "subject": "Bo Quist", "target_new": "Lima"},
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert locate(gpt2_folder, "--requests", tmp_path / "facts.jsonl", "--set", "samples=2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 2
    assert set(found["rows"]) <= set(GROUPS)
    assert found["clean"] > found["corrupted"]
    for kind in ("state", "mlp", "attn"):
        effects = torch.tensor(found["kinds"][kind]["effects"])
        assert effects.shape == (len(found["rows"]), 4)
        assert torch.tensor(found["kinds"][kind]["error"]).shape == effects.shape


def test_the_lens_is_a_method_of_the_command(gpt2_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert locate(gpt2_folder, *ONE[:4], "--method", "logit-lens") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4
    assert locate(gpt2_folder, *ONE[:4], "--method", "logit-lens", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["rank"][-1] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompt", "{} is"), "--subject is missing"),
        ((*ONE, "--requests", "x.jsonl"), "excludes these options"),
        ((*ONE, "--plot", "trace.pdf"), "neither a .png nor a .svg"),
        ((*ONE[:4], "--method", "logit-lens", "--severed"), "severs nothing"),
        ((*ONE, "--method", "logit-lens"), "nothing to set"),
        ((*ONE[:4], "--set", "sample=2"), "samples"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert locate("no-model-is-opened-for-it", *arguments) == 2
    assert message in capsys.readouterr().err
