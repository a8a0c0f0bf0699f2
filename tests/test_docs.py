"""Documentation that cannot lie: the README's commands run, in order, and its Python and that of the guide too."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from editcore.cli import main

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL)


def run(command: list[str] | str, place: Path) -> str:
    """What a command prints. `editcore` is run in this process: one of its own spends most of its time on imports."""
    if command[0] == "editcore":
        printed = io.StringIO()
        with contextlib.chdir(place), contextlib.redirect_stdout(printed):
            assert main(command[1:]) == 0, command
        return printed.getvalue()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, shell=isinstance(command, str)
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("left_out", [("tune", "bench"), pytest.param((), marks=pytest.mark.thorough)])
def test_the_commands_and_the_python_of_the_readme_run(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    """`left_out` are commands that take a minute together."""
    said = {}
    for block in blocks("README.md", "console"):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            if command.split()[1] in left_out:
                continue
            first = not said or command.startswith("echo")  # the first in a shell, as people run it
            said[command] = run(command if first else shlex.split(command), tmp_path)
    generated = next(text for command, text in said.items() if "generate edited" in command)
    assert "baker" in generated
    reverted = next(text for command, text in said.items() if command.startswith("editcore revert"))
    assert reverted.strip().endswith("the base again")
    (code,) = blocks("README.md", "python")
    assert "baker" in run([sys.executable, "-c", code], tmp_path)


HOW_TO = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/how-to/*.md"))]
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
PLUGINS = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("plugins/*/README.md"))]


@pytest.mark.parametrize(
    "document",
    [
        *(document for document in PLUGINS if blocks(document, "console")),
        *HOW_TO,
        "docs/locating.md",
        "docs/tutorial.md",
    ],
)
def test_the_commands_of_a_page_run(
    document: str, gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its `console` blocks, on a small model in the place of MODEL, on which an edit need not take."""
    lines = [line.removeprefix("$ ") for block in blocks(document, "console") for line in block.splitlines()]
    shutil.copytree(gpt2_folder, tmp_path / "MODEL")
    (tmp_path / "MODEL/chat_template.jinja").write_text(TEMPLATE)
    monkeypatch.chdir(tmp_path)
    for line in lines:
        *settings, command = re.split(r"(?<=\S) (?=(?:echo|editcore) )", line)
        if command.startswith("echo"):
            run(command, tmp_path)
            continue
        with monkeypatch.context() as during:
            for setting in settings:
                name, _, value = setting.partition("=")
                during.setenv(name, value)
            words = shlex.split(command)[1:]
            assert main([*words, "--allow-failed"] if words[0] == "edit" else words) == 0, line


@pytest.mark.thorough
def test_the_benchmark_of_the_guide_runs_as_it_says(tmp_path: Path) -> None:
    (spec,) = blocks("docs/benchmarks.md", "yaml")
    (tmp_path / "mine.yaml").write_text(spec)
    shipped, own, compared = blocks("docs/benchmarks.md", "console")
    listed = run(shlex.split(shipped.splitlines()[0].removeprefix("$ ")), tmp_path)
    section = (
        (ROOT / "docs/benchmarks.md").read_text("utf-8").partition("## The specs that ship")[2].partition("\n## ")[0]
    )
    named = re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    assert set(re.findall(r"^(\S+) {2,}", listed, re.MULTILINE)) - {"name"} == set(named)
    for line in (*own.splitlines(), *compared.splitlines()):
        run(shlex.split(line.removeprefix("$ ")), tmp_path)
    assert (tmp_path / "first" / "report.html").is_file()


def test_the_plugin_of_the_guide_edits(llama_folder: Path, tmp_path: Path) -> None:
    import types

    import editcore
    from editcore import EditOptions, EditRequest
    from editcore.plugins.registry import Registry

    module = types.ModuleType("editcore_mine.hooks")
    code = next(block for block in blocks("docs/plugins.md", "python") if "class Nudge" in block)
    exec(compile(code, "docs/plugins.md", "exec"), module.__dict__)
    session = editcore.open(llama_folder, registry_=Registry.of(module))
    request = EditRequest("{} works as a", "Ada Marlow", "pilot")
    patch = session.edit_all([request], EditOptions("nudge", hparams=(("--set", {"layer": 2, "size": 0.5}),)))
    assert list(patch.targets) == ["model.layers.2.mlp.down_proj.weight"]


@pytest.mark.thorough
def test_the_plugin_of_the_guide_passes_the_suite_as_the_guide_inherits_it(tmp_path: Path) -> None:
    plugin, suite = (
        next(block for block in blocks("docs/plugins.md", "python") if text in block)
        for text in ("class Nudge(", "class TestNudge(")
    )
    entry = re.search(r"^mine = \"(.*)\"$", blocks("docs/plugins.md", "toml")[0], re.MULTILINE)
    assert entry is not None
    package = tmp_path / entry[1].split(".")[0]
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "hooks.py").write_text(plugin)
    info = tmp_path / "editcore_mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editcore-mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[editcore]\nmine = {entry[1]}\n")
    (tmp_path / "test_nudge.py").write_text(suite)
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_nudge.py"]
    done = subprocess.run(
        pytest_, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "it adds the same number to every weight" in done.stdout


def test_the_guide_names_every_check() -> None:
    from editcore.testing.conformance import MethodConformance

    checks = {name.removeprefix("test_") for name in dir(MethodConformance) if name.startswith("test_")}
    section = (ROOT / "docs/plugins.md").read_text("utf-8").partition("## Its tests")[2].partition("\n## ")[0]
    listed = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {name for cell in listed for name in re.findall(r"`(.*?)`", cell)} == checks


def test_every_link_between_documents_leads_somewhere() -> None:
    patterns = ("*.md", "docs/*.md", "docs/how-to/*.md", "*/README.md", "plugins/*/*.md")
    for document in (path for pattern in patterns for path in ROOT.glob(pattern)):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_commands_of_the_page_on_evaluation_run(tmp_path: Path) -> None:
    import json
    import shutil

    from editcore_demo import model_path

    shutil.copytree(model_path(), tmp_path / "tour/model")
    said = {}
    for block in blocks("docs/evaluation.md", "console"):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            said[command] = run(command if command.startswith("echo") else shlex.split(command), tmp_path)
    plain, _, gated = (text for command, text in said.items() if command.startswith("editcore"))
    assert plain.startswith("metric")
    assert json.loads(gated)["missed"] == []
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["metric"] for row in rows} == {"tf.exact@1", "loc.kl@1"}


def test_the_table_of_metrics_has_every_metric() -> None:
    from editcore.cases.reading import LOCALITY, PORTABILITY
    from editcore.evaluation.metrics.builtin import METRICS

    text = (ROOT / "docs/evaluation.md").read_text("utf-8")
    section = text.partition("## Metrics")[2].partition("\n## ")[0]
    listed = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^` ]+@\d)`", line.split("|")[1])
    }
    for base, facets in (("loc.agree", LOCALITY), ("loc.correct", LOCALITY), ("loc.kl", LOCALITY)):
        listed |= {f"{base}.{facet}@1" for facet in facets}
    for base in ("gen1.loc.agree", "gen1.loc.correct"):
        listed |= {f"{base}.{facet}@1" for facet in LOCALITY}
    for measure in ("em", "contains", "old_contains", "strict", "stop", "over"):
        listed |= {f"gen1.{measure}{about}{form}@1" for about in ("", ".rephrase") for form in ("", ".plain", ".qa")}
    for base, version in (("port", 1), ("port.gen", 2), ("gen1.port", 1)):
        listed |= {f"{base}.{facet}@{version}" for facet in PORTABILITY}
    assert listed == {metric.name for metric in METRICS}
    assert all(facet in section for facet in (*LOCALITY, *PORTABILITY))
