"""The pages that are made from the code: everything has its place, and no text of a class breaks a page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from editcore.cli import root
from editcore.plugins.registry import registry
from editcore_hooks import specs
from upkeep import reference
from upkeep.distributions import distributions
from upkeep.reference import method_page
from upkeep.site import configuration, generated, pages

ROOT = Path(__file__).parents[1]
OURS = {one.name for one in distributions()}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return generated()


def headings(text: str) -> set[str]:
    return set(re.findall(r"^## `?([^`\n]+)`?$", text, re.MULTILINE))


def test_every_hook_has_its_section() -> None:
    text = (ROOT / "docs/hooks.md").read_text("utf-8")
    named = {name for name in vars(specs) if name.startswith("editcore_")}
    assert headings(text) == named
    for name in named:
        arguments = getattr(specs, name).__code__.co_varnames[: getattr(specs, name).__code__.co_argcount]
        section = text.partition(f"## `{name}`")[2].partition("\n## ")[0]
        assert all(argument in section for argument in arguments)


def test_every_command_has_its_section() -> None:
    ours = {one.name for one in distributions() if one.installed}
    named = {name for name, found in root.offers.items() if not found[0].distribution or found[0].distribution in ours}
    assert {f"editcore {name}" for name in named} <= headings((ROOT / "docs/commands.md").read_text("utf-8"))


@pytest.mark.parametrize(("page", "write"), [("hooks", reference.hooks), ("commands", reference.commands)])
def test_a_changed_text_is_written_again(page: str, write: Callable[[], str]) -> None:
    assert (ROOT / f"docs/{page}.md").read_text("utf-8") == write(), f"docs/{page}.md is stale; run: make lists"


def test_every_class_of_ours_has_its_page(made: dict[str, str]) -> None:
    for catalogue in registry().catalogues:
        for cls, plugin in catalogue.offers():
            if plugin.record.distribution not in OURS:
                continue
            if catalogue.kind == "method":
                assert f"methods/{cls.name}.md" in made
            else:
                assert cls.name in headings(made[f"reference/{catalogue.kind.replace(' ', '-')}s.md"])


def test_a_page_of_a_method_shows_what_its_class_says(made: dict[str, str]) -> None:
    rome = made["methods/rome.md"]
    cls = registry().method("rome")
    assert cls.paper in rome
    assert all(f"| `{name}` |" in rome for name in ("v_steps", "clamp", "layer"))
    assert "| many facts in one update | no: one fact an update |" in rome
    other = type("Other", (cls,), {"name": "other", "summary": "a | b", "paper": "x|y"})
    assert "x\\|y" in method_page(other, "editcore-rome", "plugins/editcore-rome/README.md")


def test_every_page_is_reached_and_every_link_leads_somewhere() -> None:
    found = pages()
    for name, content in found.items():
        if name.endswith(".md"):
            text = content.read_text("utf-8") if isinstance(content, Path) else content
            text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
            for target in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", text):
                path = (Path("/") / Path(name).parent / target).resolve().relative_to("/").as_posix()
                assert path in found or f"{path}/README.md" in found, f"{name} links to {target}"
    nav = str(configuration(Path("source"), Path("site"), found)["nav"])
    for name in found:
        if name.endswith(".md") and name.startswith(("docs/", "methods/", "reference/")):
            assert f"'{name}'" in nav, f"{name} is in no menu"
