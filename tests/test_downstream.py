"""Plugins that were written against an earlier contract still load and edit."""

import importlib.util
import sys
from pathlib import Path

import pytest

import editcore
from editcore import EditOptions, EditRequest
from editcore.cli.plugin_commands import CommandDoor
from editcore.plugins.registry import Registry
from editcore_hooks import Case, Site

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("downstream/*/hooks.py"))
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")


def module_of(folder: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location(f"{folder.name}_hooks", folder / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_kind_still_works(
    folder: Path, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITCORE_TEST_OBSERVED", "none")
    known = Registry.of(module_of(folder, monkeypatch))
    known.ask_everything()
    own = [plugin for plugin in known.plugins if plugin.record.name == f"{folder.name}_hooks"]
    assert [(plugin.record.status, plugin.record.error) for plugin in own] == [("ok", "")]
    offered = [cls for one in known.catalogues for cls, plugin in one.offers() if plugin is own[0]]
    assert len(offered) == 8

    session = editcore.open(llama_folder, registry_=known)
    options = EditOptions("step-1.0", locator="second-1.0", transforms=("whole-1.0",))
    first = session.edit_all([REQUEST], options)
    assert list(first.targets) == ["model.layers.2.mlp.down_proj.weight"]
    with session.patched(first):
        second = session.edit_all([REQUEST], EditOptions("step-1.0"))
    assert float(second.tensors[next(iter(second.tensors))].abs().sum()) > 0
    note = session.edit_all([REQUEST], EditOptions("note-1.0"))
    with session.patched(note):
        (report,) = session.evaluate([Case(REQUEST)], ["first-1.0@1"])
    assert report.n == 1
    sample = tmp_path / "sample.tsv"
    layout = known.dataset("lines-1.0")
    sample.write_text(layout.sample(), "utf-8")
    assert [case.request.target_new for case in layout().read(sample)] == ["pilot"]
    door = CommandDoor(own[0], ())
    own[0].manager.hook.editcore_register_commands(cli=door)
    assert list(door.commands) == ["step-1-0"]
    assert session.anatomy.module(Site("head")) is not None
