"""`editcore eval` as people call it: figures, rows, a gate with its exit code, and on which patches it was computed."""

import json

import pytest

from editcore.cli import main
from editcore.patches.file.patch import Patch

CASE = {
    "id": "a",
    "prompt": "{} lives in",
    "subject": "Anna Maria",
    "target_new": "Oslo",
    "target_true": "Lyon",
    "locality": {"neighbour": [{"prompt": "Zoë lives in", "target": "Paris"}]},
}


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(CASE) + "\n" + json.dumps({**CASE, "id": "b", "subject": "Ada", "locality": {}}))
    return path


def test_figures_and_rows_of_a_model_with_a_patch(tiny, fact_patch, cases, tmp_path, capsys):
    rows, patch = tmp_path / "rows.jsonl", fact_patch(tiny, "loud", size=5.0)
    asked = ["--patch", str(patch), "--cases", str(cases), "--answers", "3", "--rows", str(rows)]
    assert main(["eval", str(tiny), *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    reports = {report["metric"]: report for report in found["reports"]}
    assert found["patches"] == [Patch.read_header(patch).patch_id]
    assert {"tf.token@1", "pref.es@1", "pref.ns@1", "loc.agree@1"} <= reports.keys()
    assert not {"pref.ps@1", "pref.score@1", "port.all@1"} & reports.keys()
    assert (reports["pref.es@1"]["n"], reports["loc.kl@1"]["n"], reports["pref.es@1"]["dtype"]) == (2, 1, "float32")
    assert reports["loc.kl@1"]["value"] > 0
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(written) == sum(len(report["rows"]) for report in reports.values())
    assert {"metric", "case", "prompt", "target", "value", "answer_before", "answer_after"} <= written[0].keys()
    assert any(row["answer_before"] != row["answer_after"] for row in written)


def test_a_patched_folder_says_which_patches_it_was_computed_on(tiny, fact_patch, cases, capsys):
    patch = fact_patch(tiny, "one")
    assert main(["apply", str(patch), "--model", str(tiny), "--in-place", "-q"]) == 0
    capsys.readouterr()
    assert main(["eval", str(tiny), "--cases", str(cases), "--metrics", "loc.kl@1,tf.exact@1"]) == 0
    printed, talk = capsys.readouterr()
    assert Patch.read_header(patch).patch_id[:12] in talk
    assert [line.split()[0] for line in printed.splitlines()] == ["metric", "loc.kl@1", "tf.exact@1"]


def test_a_missed_gate_exits_with_5_and_shows_the_failing_rows(tiny, cases, tmp_path, capsys):
    gate = tmp_path / "gate.yaml"
    gate.write_text('loc.agree@1: ">= 1"\nloc.kl@1: ["< 0.001", ">= 0"]\n')
    arguments = ["eval", str(tiny), "--cases", str(cases), "--gate", str(gate)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [report["metric"] for report in found["reports"]] == ["loc.agree@1", "loc.kl@1"]
    assert found["missed"] == []
    gate.write_text('tf.exact@1: ">= 0.9"\nloc.agree@1: ">= 0.5"')
    assert main(arguments) == 5
    printed, talk = capsys.readouterr()
    assert "tf.exact@1>=0.9: it is 0, 2 failing rows" in printed
    assert "Anna Maria lives in" in printed
    assert "tf.exact@1>=0.9 is required, but it is 0" in talk
    assert main([*arguments, "--json"]) == 5
    (missed,) = json.loads(capsys.readouterr().out)["missed"]
    assert [row["case"] for row in missed["rows"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tf.exact@1: high", "gate.yaml, tf.exact@1: 'high' is not a bound"),
        ("", "holds no bound"),
        ("- x", "no mapping"),
    ],
)
def test_a_gate_that_bounds_nothing_is_refused(tiny, cases, tmp_path, capsys, text, message):
    gate = tmp_path / "gate.yaml"
    gate.write_text(text)
    assert main(["eval", str(tiny), "--cases", str(cases), "--gate", str(gate)]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_metric_is_refused_with_the_nearest(tiny, cases, capsys):
    assert main(["eval", str(tiny), "--cases", str(cases), "--metrics", "tf.exct@1"]) == 4
    assert "tf.exact@1" in capsys.readouterr().err


def test_damage_is_measured_on_the_text_of_a_file(tiny, fact_patch, cases, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("It rained all day.\nThe dog slept.\n")
    asked = ["--patch", str(fact_patch(tiny, "loud", size=5.0)), "--cases", str(cases), "--metrics", "damage.kl@1"]
    assert main(["eval", str(tiny), *asked, "--neutral", str(text), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert [row["prompt"] for row in report["rows"]] == ["It rained all day.", "The dog slept."]
    assert report["value"] > 0
    assert main(["eval", str(tiny), *asked, "--neutral", str(tmp_path / "none.txt")]) == 2
    assert "there is no file" in capsys.readouterr().err
