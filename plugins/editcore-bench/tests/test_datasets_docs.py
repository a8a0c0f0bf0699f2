"""The commands and the Python of the page on datasets, and what it says of the layouts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from editcore_bench.datasets.layouts import LAYOUTS

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    for layout in LAYOUTS:
        (folder / f"{layout.name}.json").write_text(layout.sample())
    # `editcore` as these tests run, whatever is installed beside them
    script = folder / "editcore"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m editcore "$@"\n')
    script.chmod(0o755)
    return folder


def test_the_commands_and_the_python_of_the_page_run(place: Path) -> None:
    environment = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
    (commands,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in commands.splitlines():
        command = line.removeprefix("$ ")
        done = subprocess.run(command, shell=True, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert len((place / "cases.jsonl").read_text().splitlines()) == 2
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "mquake-3 ['Ina Quist', 'Oss Mills'] 3", done.stderr


def test_the_page_names_every_layout() -> None:
    table = PAGE.partition("## Layouts")[2].partition("\n\nWhere")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(.*?)`", row.split("|")[1])
    }
    assert named == {layout.name for layout in LAYOUTS}
