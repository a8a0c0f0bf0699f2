"""`editcore bench` on the command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from editcore.cli import main


def test_help_and_the_list_of_specs_import_no_torch() -> None:
    code = (
        "import sys; from editcore.cli import main;"
        "main(['bench', '--help']); main(['bench', 'run', '--help']); main(['bench', 'specs']);"
        "assert 'torch' not in sys.modules and 'jinja2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ice-continual" in done.stdout


def test_bench_alone_shows_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    assert "run" in capsys.readouterr().out


def test_a_shipped_spec_is_printed_to_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "specs", "sequential"]) == 0
    assert "sequential: [1, 10, 100, 1000]" in capsys.readouterr().out


def test_an_unknown_spec_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "run", "sequental"]) == 2
    assert "did you mean 'sequential'?" in capsys.readouterr().err


def test_data_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "run", "basic", "--model", "m", "--data", "counterfact.json"]) == 2
    assert "write --data counterfact=FILE" in capsys.readouterr().err


def test_run_says_what_has_no_figures_and_fails(
    write_spec: Any, llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(
        tmp_path,
        ("  - {name: ft-m, set: {steps: 4, lr: 0.02, layers: [1]}}\n", ""),
        ("layers: [1]", "layers: [99]"),
        ("  - batch: [2, 6]\n  - sequential: [1, 3, 6]\n    gap: 2\n", ""),
    )
    assert main(["bench", "run", str(spec), "-o", str(tmp_path / "out"), "--model", str(llama_folder)]) == 1
    said = capsys.readouterr().err
    assert "ft-l, towns, single has no figures" in said
    assert "run the same command again" in said


def test_run_shows_what_was_found_as_json(
    small_run: Path, write_spec: Any, llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path)
    assert main(["bench", "run", str(spec), "-o", str(small_run), "--model", str(llama_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 8
    assert {"metric", "value", "low", "high", "n", "phase", "since", "edits"} == found[0]["figures"][0].keys()
    assert found[0]["cost"]["edit_seconds"] > 0
