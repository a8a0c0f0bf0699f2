"""`diff` and `blame` as people call them: exit codes, tables, JSON, and answers in both texts."""

import json

import pytest

from editcore.cli import main
from editcore.patches import Patch


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
    assert main(["diff", str(one), "nowhere"]) == 2


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
