"""Plugins are installed where editcore runs, or the command is shown that does it there."""

import sys
from pathlib import Path

import pytest

from editcore.plugins import installing
from editcore.plugins.installing import distribution_of, install_plan, uninstall_plan
from editcore_hooks import UsageError


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_pip_of_this_environment_installs(prefix: Path) -> None:
    plan = install_plan(["rome", "editcore-guards", "./folder"], upgrade=True)
    assert plan.runs
    names = ("editcore-rome", "editcore-guards", "./folder")
    assert plan.command == (sys.executable, "-m", "pip", "install", "--upgrade", *names)


def test_uv_installs_where_there_is_no_pip(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "find_spec", lambda name: None)
    monkeypatch.setattr(installing.shutil, "which", lambda name: "/bin/uv")
    assert install_plan(["rome"]).command == ("/bin/uv", "pip", "install", "--python", sys.executable, "editcore-rome")
    monkeypatch.setattr(installing.shutil, "which", lambda name: None)
    monkeypatch.delenv("UV", raising=False)
    with pytest.raises(UsageError, match="neither pip nor uv"):
        install_plan(["rome"])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("uv-receipt.toml", "uv tool install editcore --with editcore-rome"),
        ("pipx_metadata.json", "pipx inject editcore editcore-rome"),
    ],
)
def test_the_environment_of_another_program_is_left_to_it(prefix: Path, file: str, text: str) -> None:
    (prefix / file).touch()
    plan = install_plan(["rome"])
    assert (plan.text, plan.runs) == (text, False)


def test_only_installed_plugins_are_uninstalled(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        name = "guards"

        class dist:
            name = "editcore-guards"

    monkeypatch.setattr(installing, "entry_points", lambda group: [Found])
    assert uninstall_plan(["guards"]).command[2:] == ("pip", "uninstall", "--yes", "editcore-guards")
    with pytest.raises(UsageError, match="no plugin of the distribution editcore-rome"):
        uninstall_plan(["rome"])
    with pytest.raises(UsageError, match="is no plugin"):
        uninstall_plan(["editcore"])


def test_an_option_is_no_name() -> None:
    with pytest.raises(UsageError, match="no name"):
        distribution_of("--index-url=http://elsewhere")
