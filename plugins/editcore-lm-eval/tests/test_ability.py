"""Tasks of lm-evaluation-harness on a model with and without a patch, from a task file, offline."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="fifty packages: pip install -e plugins/editcore-lm-eval")

import torch

import editcore
from editcore.cli import main
from editcore.evaluation.reports.intervals import normal
from editcore.facade import Session
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.testing.snapshot import Snapshot, random_states
from editcore.testing.taught import TRADES, facts
from editcore_hooks import Dense, EditcoreError, UsageError
from editcore_lm_eval.compare import Figure, figures
from editcore_lm_eval.run import Settings, load_tasks, run_tasks

KEY = "transformer.h.3.mlp.c_proj.weight"
TASK = """
task: trades
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: {choices}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 3}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tasks")
    rows = [
        {"question": f"{name} works as a", "answer": TRADES.index(thing)}
        for name, relation, thing in facts()
        if relation == "trade"
    ]
    (place / "trades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "trades.yaml").write_text(TASK.format(data=place / "trades.jsonl", choices=json.dumps(TRADES)))
    return place


@pytest.fixture(autouse=True)
def _datasets_here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)


@pytest.fixture(scope="module")
def session(gpt2_folder: Path) -> Session:
    return editcore.open(gpt2_folder)


@pytest.fixture(scope="module")
def damage(gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patch that makes noise of one matrix, so that answers become guesses."""
    opened = Checkpoint.open(gpt2_folder)
    entry = opened.entries[KEY]
    noise = torch.randn(entry.shape, generator=torch.Generator().manual_seed(0))
    target = Target(to_stored(Dense(noise), False), entry.dtype, entry.shape, opened.base_sha256(KEY))
    path = tmp_path_factory.mktemp("patch") / "noise.safetensors"
    seal({KEY: target}, base_identity(opened, "taught"), {"title": "noise", "method": {"name": "test"}}).save(path)
    return path


def accuracy(session: Session, n: int | None = None) -> list[float]:
    """Whether the likeliest trade is the right one, by editcore's own scores."""
    right = []
    for name, relation, thing in facts():
        if relation == "trade":
            prompt = f"{name} works as a"
            scores = session.score_targets([(prompt, trade, None, "auto") for trade in TRADES])
            right.append(float(TRADES[max(range(len(TRADES)), key=lambda i: scores[i].sum)] == thing))
    return right[:n]


def test_the_figures_are_those_of_the_model_with_and_without_the_patch(session, folder, damage):
    tasks = load_tasks(["trades"], folder)
    before, own_before = run_tasks(session, ["trades"], tasks, Settings()), accuracy(session)
    with session.patched(editcore.Patch.load(damage)):
        after, own_after = run_tasks(session, ["trades"], tasks, Settings()), accuracy(session)
    (figure,) = figures(before, after)
    assert (figure.task, figure.metric, figure.version, figure.n) == ("trades", "acc", "3", 15)
    assert figure.higher_is_better is True
    assert figure.without == pytest.approx(sum(own_before) / 15)
    assert figure.with_patches == pytest.approx(sum(own_after) / 15)
    assert figure.without > 0.9 > 0.6 > figure.with_patches
    assert figure.difference == pytest.approx(figure.with_patches - figure.without)
    paired = normal([later - early for early, later in zip(own_before, own_after, strict=True)])
    assert (figure.low, figure.high) == pytest.approx(paired)


def test_the_model_its_modes_and_the_generators_are_as_before(session, folder):
    before, states, pad = Snapshot.of(session.model), random_states(), session.tokenizer.pad_token
    run_tasks(session, ["trades"], load_tasks(["trades"], folder), Settings(limit=2))
    assert before.changes(Snapshot.of(session.model)) == []
    assert random_states() == states
    assert session.tokenizer.pad_token == pad


def test_a_limit_takes_the_first_documents_and_one_run_has_no_difference(session, folder):
    results = run_tasks(session, ["trades"], load_tasks(["trades"], folder), Settings(limit=4, batch_size=3))
    (figure,) = figures(results)
    assert figure == Figure("trades", "acc", "none", "3", 4, True, sum(accuracy(session, 4)) / 4)


def test_a_figure_that_is_no_mean_over_documents_has_no_interval():
    def run(value: float, documents: list[float]) -> dict[str, Any]:
        rows = [{"doc_id": i, "filter": "none", "ppl": ppl} for i, ppl in enumerate(documents)]
        return {"results": {"text": {"ppl,none": value, "ppl_stderr,none": "N/A"}}, "samples": {"text": rows}}

    (figure,) = figures(run(12.0, [1.0, 2.0]), run(15.0, [1.5, 2.5]))
    assert (figure.difference, figure.low, figure.high) == (3.0, None, None)


def test_a_task_that_nobody_has_is_refused(folder):
    with pytest.raises(UsageError, match="there is no folder"):
        load_tasks(["trades"], folder / "none")


def test_what_stops_the_library_is_one_line(session, folder, tmp_path):
    (tmp_path / "broken.yaml").write_text((folder / "trades.yaml").read_text().replace("trades.jsonl", "none.jsonl"))
    with pytest.raises(EditcoreError, match="lm-evaluation-harness stopped") as caught:
        run_tasks(session, ["trades"], load_tasks(["trades"], tmp_path), Settings())
    assert "\n" not in str(caught.value)


def test_the_command_prints_both_and_the_difference(gpt2_folder, folder, damage, capsys):
    arguments = ["ability", str(gpt2_folder), "--patch", str(damage), "--task", "trades", "--limit", "5"]
    assert main([*arguments, "--trust-task-folder", str(folder), "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert figure["difference"] < 0
    assert figure["low"] <= figure["difference"] <= figure["high"]


def test_nothing_but_the_table_is_said_where_nobody_watches(gpt2_folder, folder):
    arguments = ["ability", str(gpt2_folder), "--task", "trades", "--limit", "5", "--trust-task-folder", str(folder)]
    done = subprocess.run([sys.executable, "-m", "editcore", *arguments], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split() == ["task", "metric", "n", "without", "with", "difference", "95", "%"]
    assert row.split() == ["trades", "acc", "5", "1.0000"]
    assert done.stderr == ""
