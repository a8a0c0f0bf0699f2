"""`editcore datasets`, and datasets that are fetched, against a hub on loopback."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from editcore.cases.reading import read_cases
from editcore.cli import main
from editcore.testing.hub import COMMIT, serving
from editcore_bench.datasets.layouts import LAYOUTS

FLAT = next(layout for layout in LAYOUTS if layout.name == "counterfact-flat")


HUB_RUN = "import sys; from editcore.cli import main; sys.exit(main())"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    files: dict[str, bytes] = {"README.md": b"# facts", "facts.json": FLAT.sample().encode()}
    with serving(files) as environment:
        for name, value in {**environment, "HF_HOME": str(tmp_path / "hub")}.items():
            monkeypatch.setenv(name, value)
        yield files


@pytest.fixture
def editcore() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process of its own: the hub's library reads its settings once."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", HUB_RUN, *arguments], capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.json"
    path.write_text(FLAT.sample())
    return path


def cases(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [case.request.id for case in read_cases(lines, path.name)]


def test_every_layout_is_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in listed} >= {layout.name for layout in LAYOUTS}
    assert all(row["summary"] and row["paper"] and row["distribution"] for row in listed)
    assert main(["datasets", "show", "zsre"]) == 0
    shown = capsys.readouterr().out
    assert "keys: subject, src, rephrase, alt, answers, loc, loc_ans" in shown
    assert "target" in shown
    assert main(["datasets", "show", "mquake", "--sample"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_file_becomes_cases_that_edit_reads(facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "cases.jsonl"
    assert main(["datasets", "convert", "counterfact-flat", str(facts), "--to", str(to)]) == 0
    assert capsys.readouterr().out == f"{to}  2 cases\n"
    assert cases(to) == ["counterfact-flat-4", "counterfact-flat-9"]


def test_a_file_that_does_not_fit_leaves_nothing_behind(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(facts.read_text())
    facts.write_text(json.dumps([*rows, {**rows[0], "subject": "Eve"}]))
    to = tmp_path / "out" / "cases.jsonl"
    to.parent.mkdir()
    assert main(["datasets", "convert", "counterfact-flat", str(facts), "--to", str(to)]) == 6
    assert "facts.json, record 3: 'prompt' should be" in capsys.readouterr().err
    assert list(to.parent.iterdir()) == []
    told = ["datasets", "convert", "counterfact-flat", str(facts), "--to", str(to), "--set", "skip=true", "--json"]
    assert main(told) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["cases"], len(said["left_out"])) == (2, 1)


def test_a_file_that_is_there_is_kept_unless_told(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "cases.jsonl"
    to.write_text("mine")
    command = ["datasets", "convert", "counterfact-flat", str(facts), "--to", str(to)]
    assert main(command) == 2
    assert to.read_text() == "mine"
    assert main([*command, "--overwrite", "--limit", "1"]) == 0
    assert cases(to) == ["counterfact-flat-4"]
    assert main(["datasets", "convert", "counterfact-flat", str(facts), "--to", str(tmp_path / "no" / "c.jsonl")]) == 2
    assert "mkdir -p" in capsys.readouterr().err


def test_what_was_left_out_is_said_and_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zsre = next(layout for layout in LAYOUTS if layout.name == "zsre")
    first, without = json.loads(zsre.sample())
    source = tmp_path / "zsre.json"
    source.write_text(json.dumps([first, *[without] * 5]))
    command = ["datasets", "convert", "zsre", str(source), "--to", str(tmp_path / "c.jsonl"), "--overwrite"]
    assert main(command) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "left out: zsre.json, record 2: 'alt' is empty, so there is nothing to write"
    assert said[3:] == ["left out: 2 more; list them with -v"]
    assert main([*command, "-v"]) == 0
    assert len(capsys.readouterr().err.splitlines()) == 5


def test_unknown_names_and_settings_are_refused_with_a_suggestion(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = str(tmp_path / "c.jsonl")
    assert main(["datasets", "convert", "counterfakt", str(facts), "--to", to]) == 4
    assert "did you mean 'counterfact'" in capsys.readouterr().err
    assert main(["datasets", "convert", "zsre", str(facts), "--to", to, "--set", "target=pred"]) == 2
    assert main(["datasets", "convert", "counterfact-flat", "nowhere.json", "--to", to]) == 2
    assert "there is no file nowhere.json" in capsys.readouterr().err


def test_a_dataset_of_the_hub_is_fetched_and_read(editcore, hub, tmp_path):
    to = tmp_path / "cases.jsonl"
    done = editcore("datasets", "convert", "counterfact-flat", "me/fact", "--to", str(to))
    assert done.returncode == 0, done.stderr
    assert len(cases(to)) == 2
    done = editcore("datasets", "convert", "counterfact-flat", f"me/fact@{COMMIT}", "--to", str(to), "--overwrite")
    assert done.returncode == 0, done.stderr


def test_which_file_of_a_hub_dataset_must_be_clear(editcore, hub, tmp_path):
    hub["more/facts.json"] = hub["facts.json"]
    command = ("datasets", "convert", "counterfact-flat", "me/fact", "--to", str(tmp_path / "c.jsonl"))
    open_ = editcore(*command)
    assert open_.returncode == 2
    assert "me/fact holds several files: facts.json, more/facts.json\nhint: name one with --file" in open_.stderr
    assert editcore(*command, "--file", "more/facts.json").returncode == 0


def test_a_hub_dataset_that_is_not_there_is_an_error_with_a_hint(editcore, hub, tmp_path):
    done = editcore("datasets", "convert", "counterfact-flat", "me/none", "--to", str(tmp_path / "c.jsonl"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: me/none at http://127.0.0.1:")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error:", "hint:"]


def test_listing_datasets_imports_no_torch() -> None:
    code = "import sys; from editcore.cli import main; main(['datasets']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
