"""The template renders with default and with odd answers, and the result loads without a fault.

`python -m checks template` builds it, installs it, runs its tests and updates it.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml

import editcore
import editcore_hooks
from editcore.cli import main, root
from editcore.plugins.class_checks import class_problems
from editcore.plugins.registry import Registry
from editcore.template.rendering import KINDS, LICENSES
from editcore_hooks import API_VERSION

ROOT = Path(__file__).parents[1]
QUESTIONS = yaml.safe_load((ROOT / "plugin_template/copier.yml").read_text("utf-8"))
ANSWERS = {
    "nudge": (),
    "x9-two-parts": (*KINDS, "--license", "MIT", "--author", "Zoë O'Hara & Sons", "--summary", "It's 100 % <odd> {x}"),
    "a-name-of-thirty-letters-or-so": KINDS,
    "only-memory": ("patch-kind", "--license", "BSD-3-Clause"),
    "only-family": ("architecture",),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory):
    """The folders that `editcore new-plugin` writes, by name."""
    place = tmp_path_factory.mktemp("rendered")
    kept, os.environ["EDITCORE_CACHE"] = os.environ.get("EDITCORE_CACHE"), str(place / "cache")
    try:
        for name, (*options,) in ANSWERS.items():
            kinds = [word for option in options if option in KINDS for word in ("--kind", option)]
            rest = [option for option in options if option not in KINDS]
            assert main(["new-plugin", name, "--to", str(place / name), *kinds, *rest]) == 0
    finally:
        if kept is None:
            del os.environ["EDITCORE_CACHE"]
        else:
            os.environ["EDITCORE_CACHE"] = kept
    return {name: place / name for name in ANSWERS}


@pytest.mark.parametrize("name", ANSWERS)
def test_it_loads_and_the_doctor_finds_nothing(name: str, rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    package = f"editcore_{name.replace('-', '_')}"
    monkeypatch.syspath_prepend(str(rendered[name] / "src"))
    known = Registry.of(importlib.import_module(f"{package}.hooks"))
    known.ask_everything()
    own = [cls for one in known.catalogues for cls, plugin in one.offers() if plugin.record.name.startswith(package)]
    assert all(record.status == "ok" for record in known.records), [record.reason for record in known.records]
    assert own
    assert [fault for cls in own for fault in class_problems(cls)] == []
    assert all(f"`{cls.name}`" in (rendered[name] / "README.md").read_text("utf-8") for cls in own)


@pytest.mark.parametrize("name", ANSWERS)
def test_its_files_are_in_order(name: str, rendered) -> None:
    project = tomllib.loads((rendered[name] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == f"editcore-{name}"
    made = (path for path in rendered[name].rglob("*") if not {".git", "__pycache__"} & {*path.parts})
    texts = [path for path in made if path.is_file()]
    assert [path for path in texts if "{%" in path.read_text("utf-8")] == []
    assert ("only-" in name) is not (rendered[name] / f"bench/{name}.yaml").is_file()
    for arguments in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--no-cache", str(rendered[name])]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_offers_edits(rendered, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(rendered["nudge"] / "src"))
    session = editcore.open(llama_folder, registry_=Registry.of(importlib.import_module("editcore_nudge.hooks")))
    patch = session.edit(prompt="{} works as a", subject="Ada Marlow", target="pilot", method="nudge", layer=1)
    assert list(patch.targets) == ["model.layers.1.mlp.down_proj.weight"]


def test_its_ranges_are_those_of_this_version() -> None:
    from packaging.specifiers import SpecifierSet

    version = tomllib.loads((ROOT / "core/pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in SpecifierSet(QUESTIONS["range"]["default"])
    assert API_VERSION in SpecifierSet(QUESTIONS["api"]["default"])
    assert tuple(QUESTIONS["kinds"]["choices"]) == KINDS
    assert tuple(QUESTIONS["license"]["choices"]) == LICENSES


@pytest.mark.parametrize("name", ANSWERS)
def test_the_commands_of_its_readme_have_the_options_that_they_name(name: str, rendered) -> None:
    text = (rendered[name] / "README.md").read_text("utf-8")
    commands = re.findall(r"^(?:editcore .*)$|(?<=`)editcore [^`]+(?=`)", text, re.MULTILINE)
    assert commands
    for line in commands:
        words = shlex.split(line)[1:]
        command: click.Command = root
        context = click.Context(root, **root.context_settings)  # a command keeps the help option of its first context
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, line
            command, context = found, click.Context(found, parent=context)
        command.make_parser(context).parse_args(args=words)


@pytest.mark.parametrize("name", ANSWERS)
def test_torch_is_needed_only_where_it_is_imported(name: str, rendered) -> None:
    project = tomllib.loads((rendered[name] / "pyproject.toml").read_text("utf-8"))["project"]
    sources = [path.read_text("utf-8") for path in (rendered[name] / "src").rglob("*.py")]
    imported = any(re.search(r"^\s*(import|from) torch\b", text, re.MULTILINE) for text in sources)
    assert imported is any(one.startswith("torch>") for one in project["dependencies"])


def test_no_name_that_the_code_imports_is_given_to_a_plugin() -> None:
    validator = QUESTIONS["name"]["validator"]
    classes = {name.lower() for name in editcore_hooks.__all__ if name[0].isupper() and not name.isupper()}
    assert set(re.findall(r" in '([a-z ]+)'", validator)[0].split()) == classes | {"dialogue", "memory"}


def test_bad_answers_are_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "made")
    names = ["Nudge", "editcore-nudge", "memory-kind", "dialogue"]
    for arguments in (*([name] for name in names), ["nudge", "--kind", "meth0d"], ["nudge", "--license", "GPL"]):
        assert main(["new-plugin", *arguments, "--to", folder]) == 2
        assert capsys.readouterr().err.startswith("error:")
        assert not Path(folder).exists()
