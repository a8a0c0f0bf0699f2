"""`diff` and `blame` as people call them: exit codes, tables, JSON, and answers in both texts."""

import json
import shutil
from pathlib import Path

import pytest

from editcore.cli import main
from editcore.patches.file.patch import Patch


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.jsonl"
    rows = [{"id": n, "prompt": "{} lives in", "subject": n, "target_new": "Oslo"} for n in ("Ada", "Anna Maria")]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_diff_exits_0_without_and_7_with_a_difference(tiny, fact_patch, capsys):
    one, two = fact_patch(tiny, "one"), fact_patch(tiny, "two")
    assert main(["diff", str(one), str(one)]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert main(["diff", str(one), str(two), "--model", str(tiny)]) == 7
    printed = capsys.readouterr().out
    assert "about.title" in printed
    assert "down_proj" in printed
    assert "°" in printed
    assert "%" in printed
    assert main(["diff", str(one), str(two), "--json"]) == 7
    shown = json.loads(capsys.readouterr().out)
    assert {"field": "about.title", "a": "one", "b": "two"} in shown["manifest"]
    assert abs(shown["tensors"][0]["cosine"]) < 1
    assert main(["diff", str(one), "nowhere.safetensors"]) == 2


def test_written_stacks_are_compared_with_each_other_with_patches_and_with_folders(
    tiny, fact_patch, tmp_path, cases, capsys
):
    one, two = fact_patch(tiny, "one"), fact_patch(tiny, "two")
    first, both = tmp_path / "first.json", tmp_path / "both.json"
    before = Path(shutil.copytree(tiny, tmp_path / "before"))
    for file, path in ((one, first), (two, both)):
        assert main(["apply", str(file), "--model", str(tiny), "--in-place", "-q"]) == 0
        assert main(["stack", "export", str(tiny), "-o", str(path), "-q"]) == 0
    capsys.readouterr()
    assert main(["diff", str(both), str(both)]) == 0
    assert main(["diff", str(first), str(one), "--model", str(before)]) == 0  # a stack of one is that patch
    assert main(["diff", str(both), str(tiny), "--json"]) == 7
    (row,) = json.loads(capsys.readouterr().out.removeprefix("no difference\n" * 2))["tensors"]
    assert row["distance"] < 1e-4 * row["a"]["norm"]  # the folder holds the sum, rounded
    assert main(["diff", str(first), str(both), "--json", "--cases", str(cases), "--model", str(before)]) == 7
    shown = json.loads(capsys.readouterr().out)
    added = Patch.read_header(two).patch_id
    assert {"field": f"titles.{added}", "a": None, "b": "two"} in shown["manifest"]
    assert {row["field"].split(".")[0] for row in shown["manifest"]} == {"patches", "titles", "result_sha256"}
    (row,) = shown["tensors"]
    assert (row["a"]["effective_rank"], row["b"]["effective_rank"]) == (1, 2)
    assert row["distance"] == pytest.approx(next(iter(Patch.load(two).delta_norms().values())), rel=1e-6)


def test_diff_shows_which_answers_changed_in_both_texts(tiny, fact_patch, cases, capsys):
    quiet, loud = fact_patch(tiny, "quiet", size=1e-7), fact_patch(tiny, "loud", size=50.0)
    arguments = ["diff", str(quiet), str(loud), "--cases", str(cases), "--max-new-tokens", "3"]
    assert main(arguments) == 2
    assert "--model DIR" in capsys.readouterr().err
    assert main([*arguments, "--model", str(tiny), "--json"]) == 7
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers
    assert all(row["a"] != row["b"] and row["about"] == "edit" for row in answers)
    assert main(["diff", str(tiny), str(tiny), "--cases", str(cases)]) == 0


def test_blame_names_the_patch_and_the_number_of_models(tiny, fact_patch, cases, capsys):
    assert main(["generate", str(tiny), "--prompt", "Anna Maria lives in", "--max-new-tokens", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)[0]["base"]
    row = {"id": "x", "prompt": "{} lives in", "subject": "Anna Maria", "target_new": said, "target_prefix": "none"}
    cases.write_text(json.dumps(row))
    assert main(["blame", str(tiny), "--cases", str(cases)]) == 2
    assert "carries no patches" in capsys.readouterr().err
    files = [fact_patch(tiny, f"q{i}", size=1e-7) for i in range(3)]
    files.insert(1, fact_patch(tiny, "loud", size=50.0))
    assert main(["apply", *map(str, files), "--model", str(tiny), "--in-place", "-q"]) == 0
    capsys.readouterr()
    assert main(["blame", str(tiny), "--cases", str(cases), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (verdict,) = found["verdicts"]
    assert (verdict["status"], verdict["title"]) == ("broken", "loud")
    assert verdict["patch"] == Patch.read_header(files[1]).patch_id
    assert found["evaluations"] <= 5
    assert main(["blame", str(tiny)]) == 0  # the patches' own requests
    printed, talk = capsys.readouterr()
    assert "Ada lives in … Oslo" in printed
    assert "models evaluated, of 4 patches" in talk


def test_blame_takes_patches_that_are_on_no_folder_and_asks_probes_too(tiny, fact_patch, cases, capsys):
    assert main(["generate", str(tiny), "--prompt", "Anna Maria lives in", "--max-new-tokens", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)[0]["base"]
    row = {"id": "x", "prompt": "{} lives in", "subject": "Ada", "target_new": "Oslo", "rephrases": ["{} is from"]}
    neighbour = {"prompt": "Anna Maria lives in", "target": said}
    cases.write_text(json.dumps({**row, "target_prefix": "none", "locality": {"neighbour": [neighbour]}}))
    files = [fact_patch(tiny, "quiet", size=1e-7), fact_patch(tiny, "loud", size=50.0)]
    patches = [f"--patch={file}" for file in files]
    assert main(["blame", str(tiny), *patches, "--cases", str(cases), "--json"]) == 0
    assert [verdict["about"] for verdict in json.loads(capsys.readouterr().out)["verdicts"]] == ["edit"]
    assert main(["blame", str(tiny), *patches, "--cases", str(cases), "--probes", "--json"]) == 0
    verdicts = {verdict["about"]: verdict for verdict in json.loads(capsys.readouterr().out)["verdicts"]}
    assert list(verdicts) == ["edit", "rephrase", "neighbour"]
    assert verdicts["rephrase"]["prompt"] == "Ada is from"
    assert (verdicts["neighbour"]["status"], verdicts["neighbour"]["title"]) == ("broken", "loud")
    assert main(["blame", str(tiny), *patches, "--cases", str(cases), "--probes"]) == 0
    assert "editcore revert" not in capsys.readouterr().err
