"""What the public interface loses is found, and what it gains is not held against it."""

from upkeep.api import dump, lost
from upkeep.distributions import ROOT

BEFORE = "a.f(x)\na.g(y)\na.T\n"


def test_what_goes_or_changes_is_lost() -> None:
    assert lost(BEFORE, BEFORE + "a.h()\n", {}) == []
    assert lost(BEFORE, "a.f(x, z)\na.T\n", {}) == ["a.f(x)", "a.g(y)"]
    assert lost(BEFORE, "a.f(x)\na.T\n", {"a.g(y)": "nothing used it"}) == []
    assert lost(BEFORE, "a.f(x)\na.T\n", {"a.g(y)": " "}) == ["a.g(y)"]


def test_the_dump_has_the_contract() -> None:
    text = (ROOT / "docs/api.txt").read_text("utf-8")
    assert text == dump(), "run: make lists"
    lines = text.splitlines()
    request = "editcore_hooks.EditRequest(prompt, subject, target_new, target_true=…, id=…, template=…, "
    assert request + "target_prefix=…, contexts=…)" in lines
    assert any(line.startswith("editcore_hooks.specs.editcore_locate(") for line in lines)
    assert any(line.startswith("editcore.authoring.models.Trace(") for line in lines)
