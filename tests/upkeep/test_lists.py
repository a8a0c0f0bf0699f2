"""What is the same in every distribution comes from one place, and what is missing is named."""

import shutil
from pathlib import Path

import pytest

from upkeep import catalogue, distributions, faults, lists


def test_every_list_is_what_the_distributions_say() -> None:
    assert list(lists.stale()) == [], "run: make lists"


def test_no_distribution_lacks_anything() -> None:
    assert faults.faults() == []


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository with one method alone, to take things from."""
    for folder in ("hooks", "core", "plugins/editcore-kn"):
        shutil.copytree(
            distributions.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("golden", "*.safetensors")
        )
    for name in ("requirements-dev.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(distributions.ROOT / name, tmp_path)
    (tmp_path / "docs").mkdir()
    for name in ("docs/catalogue.md", "docs/catalogue.toml", "docs/api.txt", "docs/hooks.md", "docs/commands.md"):
        shutil.copy(distributions.ROOT / name, tmp_path / name)
    for module in (distributions, faults, lists, catalogue):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("missing", ["src/editcore_kn/py.typed", "README.md", "LICENSE", "src/editcore_kn/hooks.py"])
def test_a_missing_file_is_named(copy: Path, missing: str) -> None:
    (copy / "plugins/editcore-kn" / missing).unlink()
    assert [fault for fault in faults.faults() if missing in fault and fault.startswith("editcore-kn: ")]


def test_a_readme_that_leaves_out_what_is_offered_is_named(copy: Path) -> None:
    (copy / "plugins/editcore-kn/README.md").write_text("# editcore-kn\n\nIt is known.\n")
    assert faults.faults() == ["editcore-kn: its README does not name kn"]


def test_another_licence_is_named(copy: Path) -> None:
    path = copy / "plugins/editcore-kn/pyproject.toml"
    path.write_text(path.read_text().replace('license = "Apache-2.0"', 'license = "MIT"'))
    assert faults.faults() == ["editcore-kn: license in pyproject.toml differs from the core's"]


def test_a_new_distribution_makes_every_list_stale(copy: Path) -> None:
    written = {"requirements-dev.txt", "pyproject.toml", "README.md", "known.py", "catalogue.md", "commands.md"}
    assert {path.name for path in lists.stale()} == written
    for path, text in lists.stale().items():
        path.write_text(text)
    assert "-e ./plugins/editcore-kn\n" in (copy / "requirements-dev.txt").read_text()
    assert '    "kn": "editcore-kn",\n' in (copy / "core/src/editcore/plugins/known.py").read_text()
    assert (
        "editcore-rome"
        not in (copy / "README.md").read_text().partition("end of distributions")[0].rpartition("| folder")[2]
    )
    assert lists.stale() == {}
