"""The real session is the session of the contract, member by member, and our plugins use nothing beyond it."""

import inspect
from pathlib import Path
from typing import Any

import pytest

import editcore
import editcore_hooks
from editcore.testing.tiny import tiny_model
from editcore_hooks import EditRequest

PARTS = {"anatomy": "Anatomy", "assets": "Assets", "live": "LivePatches", "loaded": "Loaded"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return editcore.open(tiny_model("llama", tmp_path_factory.mktemp("tiny"), n_layers=2))


def members(protocol: type) -> dict[str, Any]:
    return {name: value for name, value in vars(protocol).items() if not name.startswith("_")}


def fits(real: Any, protocol: type) -> None:
    """Every member is there; a method takes what the contract's takes, by the same names."""
    for name, promised in members(protocol).items():
        value = getattr(real, name)
        if isinstance(promised, property):
            assert not inspect.ismethod(value), name
            continue
        wanted = list(inspect.signature(promised).parameters.values())[1:]
        for parameter in wanted:
            assert parameter.name in inspect.signature(value).parameters, (name, parameter.name)
            own = inspect.signature(value).parameters[parameter.name]
            assert (own.kind, own.default) == (parameter.kind, parameter.default), (name, parameter.name)


def test_the_session_has_every_member(session: editcore.Session) -> None:
    fits(session, editcore_hooks.Session)


@pytest.mark.parametrize("part", PARTS)
def test_so_have_its_parts(session: editcore.Session, part: str) -> None:
    fits(getattr(session, part), getattr(editcore_hooks, PARTS[part]))


def test_so_has_what_its_methods_give(session: editcore.Session) -> None:
    fits(session.encode(EditRequest("{} is in", "The tower", "Rome")), editcore_hooks.Encoded)
    fits(session.score_targets([("The tower is in", "Rome", None, "auto")])[0], editcore_hooks.TargetScore)
    with session.progress("steps", 1) as progress:
        fits(progress, editcore_hooks.Progress)


@pytest.mark.parametrize("name", ["Session", *PARTS.values(), "Encoded", "Partial", "Progress", "TargetScore"])
def test_every_member_is_documented(name: str) -> None:
    for member, value in members(getattr(editcore_hooks, name)).items():
        assert inspect.getdoc(value), f"{name}.{member}"


def test_the_guide_lists_every_member() -> None:
    text = (Path(__file__).parents[3] / "docs/plugins.md").read_text("utf-8")
    section = text.partition("## What a session offers")[2].partition("\n## ")[0]
    assert [name for name in members(editcore_hooks.Session) if f"`{name}`" not in section] == []


def test_no_source_leaves_a_session_untyped() -> None:
    root = Path(__file__).parents[3]
    folders = [root / "hooks/src", root / "core/src", *root.glob("plugins/*/src")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert [str(path) for path in sources if "session: Any" in path.read_text("utf-8")] == []
