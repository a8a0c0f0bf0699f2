"""Workflows, hooks, templates, fragments and the check of a release, as far as they can be run here."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from upkeep import release
from upkeep.distributions import ROOT, distributions

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
TARGETS = {name for names in TARGETS for name in names.split()}


def steps(path: Path) -> Iterator[tuple[dict, dict]]:
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        for step in job["steps"]:
            yield job, step


def commands() -> Iterator[tuple[str, str]]:
    """Pairs of a file and a command line, with every value of the matrix in its place."""
    for path in WORKFLOWS:
        for job, step in steps(path):
            matrix = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
            for row in matrix if "run" in step else ():
                yield path.name, re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found, row=row: row[found[1]], step["run"])


@pytest.mark.parametrize(("file", "command"), list(commands()))
def test_every_command_of_a_workflow_is_there(file: str, command: str) -> None:
    first, name, *_ = shlex.split(command)
    assert first in ("make", "bash")
    assert name in TARGETS if first == "make" else (ROOT / name).is_file()


def test_the_matrix_holds_every_python_that_is_declared() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
    text = (ROOT / "core/pyproject.toml").read_text("utf-8")
    assert jobs["test"]["strategy"]["matrix"]["python"] == re.findall(r"Python :: (3\.\d+)", text)
    assert {row["end"] for row in jobs["ranges"]["strategy"]["matrix"]["include"]} == {"lowest", "newest"}


def test_only_the_job_that_publishes_may_ask_for_an_identity() -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        asking = [name for name, job in workflow["jobs"].items() if "id-token" in job.get("permissions", {})]
        assert asking == (["publish"] if path.name == "release.yml" else [])
    publish = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]["publish"]
    assert publish["if"] == "github.event_name == 'push' && github.ref_type == 'tag'"
    assert not any("run" in step for step in publish["steps"])


def test_hooks_before_a_commit_are_local_and_of_the_development_set() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    tools = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    for hook in repo["hooks"]:
        first, *rest = shlex.split(hook["entry"])
        if first == "make":
            assert rest[0] in TARGETS
        elif first == ".venv/bin/python":
            assert (ROOT / f"{rest[1].replace('.', '/')}.py").is_file()
        else:
            assert Path(first).name in tools


def test_forms_of_issues_are_whole() -> None:
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text("utf-8"))
        assert path.name == "config.yml" or {"name", "description", "body"} <= set(form)


@pytest.mark.parametrize(("name", "code"), [("7.fixed.md", 0), ("+word.added.md", 0), ("7.fix.md", 1), ("note.md", 1)])
def test_fragments_become_a_section(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n<!-- sections -->\n")
    for kept in ("pyproject.toml", "changelog.d/section.md.jinja"):
        (tmp_path / kept).write_text((ROOT / kept).read_text("utf-8"))
    (tmp_path / "changelog.d" / name).write_text("`apply` keeps the group.\n")
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", "2.0.0", "--date", "2030-01-02"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    if not code:
        text = (tmp_path / "CHANGELOG.md").read_text()
        kind = "Fixed" if "fixed" in name else "Added"
        assert re.search(rf"## 2\.0\.0 \(2030-01-02\)\n+### {kind}\n+- `apply` keeps the group\.", text)


def test_every_section_of_the_changelog_has_version_date_and_the_four_kinds() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert text.count("<!-- sections -->\n") == 1
    for heading in re.findall(r"^## .*$", text, re.MULTILINE):
        assert re.fullmatch(r"## \d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading)
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= {"Added", "Changed", "Fixed", "Removed"}


def test_a_tag_of_another_version_is_no_release() -> None:
    version = next(one.version for one in distributions() if one.folder == "core")
    assert not [fault for fault in release.faults(f"v{version}") if "changelog.d" not in fault]
    refused = list(release.faults("v99.0.0"))
    assert refused[0] == f"the tag is v99.0.0, and hooks/pyproject.toml has version {version}"
    assert "CHANGELOG.md has no section '## 99.0.0 (YEAR-MONTH-DAY)'" in refused
