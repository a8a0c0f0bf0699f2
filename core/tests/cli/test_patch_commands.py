"""Commands on patches and folders: all there, all with `--json`, and light where no tensor is computed."""

import json
from importlib import import_module
from pathlib import Path

import click
import pytest

from editcore.cli.commands import COMMANDS

GOLDEN = sorted((Path(__file__).parents[1] / "patches" / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_of_the_table_is_there_and_speaks_json(name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert any("--json" in parameter.opts for parameter in leaf.params), leaf.name
        assert leaf.help


@pytest.mark.parametrize("patch", GOLDEN, ids=lambda path: path.stem)
def test_inspect_reads_every_golden_patch_without_torch(modules_after, command, patch):
    loaded = modules_after("inspect", str(patch))
    assert not loaded & {"torch", "transformers", "numpy", "safetensors"}
    shown = json.loads(command("inspect", str(patch), "--json").stdout)
    assert shown["patch_id"] in command("inspect", str(patch)).stdout
    assert shown["core"]["targets"]


def test_a_missing_patch_is_named_with_the_command_that_makes_one(editcore):
    result = editcore("inspect", "nowhere.safetensors")
    assert result.returncode == 2
    assert result.stderr == "error: there is no patch file nowhere.safetensors\nhint: write one with `editcore edit`\n"
