"""Documentation that cannot lie: the README's commands run, in order, and its Python and that of the guide too."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run(command: list[str] | str, place: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, shell=isinstance(command, str)
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_commands_and_the_python_of_the_readme_run(place: Path) -> None:
    said = {}
    for block in blocks("README.md", "console"):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            said[command] = run(command if command.startswith("echo") else shlex.split(command), place)
    generated = next(text for command, text in said.items() if "generate edited" in command)
    assert "baker" in generated
    reverted = next(text for command, text in said.items() if command.startswith("editcore revert"))
    assert reverted.strip().endswith("the base again")
    (code,) = blocks("README.md", "python")
    assert "baker" in run([sys.executable, "-c", code], place)


def test_the_plugin_of_the_guide_edits(llama_folder: Path, tmp_path: Path) -> None:
    import types

    import editcore
    from editcore import EditRequest, Options
    from editcore.plugins.registry import Registry

    module = types.ModuleType("editcore_mine.hooks")
    code = next(block for block in blocks("docs/plugins.md", "python") if "class Nudge" in block)
    exec(compile(code, "docs/plugins.md", "exec"), module.__dict__)
    session = editcore.open(llama_folder, registry_=Registry.of(module))
    request = EditRequest("{} works as a", "Ada Marlow", "pilot")
    patch = session.edit_all([request], Options("nudge", hparams=(("--set", {"layer": 2, "size": 0.5}),)))
    assert list(patch.targets) == ["model.layers.2.mlp.down_proj.weight"]


def test_every_link_between_documents_leads_somewhere() -> None:
    patterns = ("*.md", "docs/*.md", "*/README.md", "plugins/*/*.md")
    for document in (path for pattern in patterns for path in ROOT.glob(pattern)):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
