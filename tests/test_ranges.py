"""All distributions declare the same ranges, and the pinned sets lie at their lower end and within them."""

import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text("utf-8"))["project"]
    for path in (ROOT / "hooks/pyproject.toml", ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"))
}


def ranges() -> dict[str, dict[SpecifierSet, list[str]]]:
    """Library → its ranges → the distributions that declare them."""
    found: dict[str, dict[SpecifierSet, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, project in PROJECTS.items():
        extras = project.get("optional-dependencies", {}).values()
        for required in map(
            Requirement, [*project.get("dependencies", ()), *(text for extra in extras for text in extra)]
        ):
            if required.specifier:
                found[canonicalize_name(required.name)][required.specifier].append(name)
    return found


def pins(name: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return {
        canonicalize_name(pinned): version for pinned, _, version in (line.partition("==") for line in lines if line)
    }


def test_every_distribution_declares_the_same_range_of_a_library() -> None:
    differing = {name: dict(found) for name, found in ranges().items() if len(found) > 1}
    assert differing == {}


def test_every_distribution_is_for_the_same_pythons() -> None:
    assert {project["requires-python"] for project in PROJECTS.values()} == {">=3.11"}
    minors = [f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)]
    for name, project in PROJECTS.items():
        assert [line for line in project["classifiers"] if "Python ::" in line] == minors, name


def test_torch_and_transformers_have_open_ranges() -> None:
    (torch,), (transformers,) = ranges()["torch"], ranges()["transformers"]
    for version in ("2.6.0", "2.11.0", "2.13.0", "2.14.1", "2.99.0"):
        assert version in torch
    assert "3.0.0" not in torch
    for version in ("5.0.0", "5.12.0", "5.24.0"):
        assert version in transformers


def test_the_lowest_set_is_the_lower_end_of_every_range_of_the_core() -> None:
    lowest = pins("constraints-lowest.txt")
    for required in map(Requirement, PROJECTS["core"]["dependencies"]):
        if not required.name.startswith("editcore"):
            (low,) = (each.version for each in required.specifier if each.operator == ">=")
            pinned = lowest[canonicalize_name(required.name)]
            assert SpecifierSet(f"=={low}").contains(pinned) or pinned.startswith(f"{low}."), required.name


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_what_is_pinned_lies_within_its_range(name: str) -> None:
    pinned = pins(name)
    outside = {
        library: (pinned[library], str(specifier))
        for library, found in ranges().items()
        for specifier in found
        if library in pinned and pinned[library] not in specifier
    }
    assert outside == {}
