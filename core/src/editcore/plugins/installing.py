"""Install and uninstall plugins in the environment that runs, or say by which command that is done there."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from attrs import frozen

from editcore.plugins.discovery import GROUP
from editcore.plugins.known import METHODS
from editcore.plugins.selection import normalised
from editcore.text.shell import quoted
from editcore_hooks import PluginError, UsageError

OURS: Final = ("editcore", "editcore-hooks")
_YES: Final = ("--yes",)


@frozen
class Plan:
    """A command, and whether it may be run from here: that of another program is only shown."""

    command: tuple[str, ...]
    runs: bool

    @property
    def text(self) -> str:
        return " ".join(quoted(word) for word in self.command)

    def run(self) -> None:
        """Raise `PluginError` when the command fails; its output goes to stderr."""
        done = subprocess.run(self.command, stdout=sys.stderr, check=False)
        if done.returncode:
            raise PluginError(f"{self.text} failed with exit code {done.returncode}", hint="see the lines above")


def install_plan(names: Sequence[str], upgrade: bool = False) -> Plan:
    """How `names` are installed here. Raises `UsageError`."""
    wanted = [distribution_of(name) for name in names]
    flags = ["--upgrade"] if upgrade else []
    if owner := _owner():
        added = [word for name in wanted for word in ("--with", name)]
        uv = ("uv", "tool", "install", "editcore", *added)
        return Plan(uv if owner == "uv" else ("pipx", "inject", "editcore", *wanted), runs=False)
    return Plan((*_installer("install"), *flags, *wanted), runs=True)


def uninstall_plan(names: Sequence[str]) -> Plan:
    """How `names`, which must be installed plugins, are removed here. Raises `UsageError`."""
    there = {normalised(one.dist.name): one.dist.name for one in entry_points(group=GROUP) if one.dist is not None}
    wanted = []
    for name in map(distribution_of, names):
        if normalised(name) in OURS:
            raise UsageError(f"{name} is no plugin", hint=f"uninstall it with pip: pip uninstall {name}")
        if normalised(name) not in there:
            raise UsageError(f"no plugin of the distribution {name} is installed", hint="editcore plugins list")
        wanted.append(there[normalised(name)])
    if owner := _owner():
        kept = sorted({*there.values()} - {*wanted, *OURS})
        uv = ("uv", "tool", "install", "editcore", *(word for name in kept for word in ("--with", name)))
        return Plan(uv if owner == "uv" else ("pipx", "uninject", "editcore", *wanted), runs=False)
    return Plan((*_installer("uninstall"), *wanted), runs=True)


def distribution_of(name: str) -> str:
    """The distribution of a plugin: `editcore-rome` for `rome`; a name, path or address of pip's as it is.

    Raises `UsageError` for an option in place of a name.
    """
    if name.startswith("-"):
        raise UsageError(f"{name!r} is no name of a plugin", hint="pass options before the names")
    if name in METHODS:
        return METHODS[name]
    plain = name.replace("-", "").replace("_", "").isalnum()
    if not plain or Path(name).exists() or normalised(name).startswith("editcore"):
        return name
    installed = {one.name: one.dist.name for one in entry_points(group=GROUP) if one.dist is not None}
    return installed.get(name, name)


def _owner() -> str | None:
    """`uv` or `pipx` where this environment is one of theirs, which they alone should change."""
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return "uv"
    return "pipx" if (prefix / "pipx_metadata.json").is_file() else None


def _installer(verb: str) -> tuple[str, ...]:
    """pip of this environment, or uv where there is none. Raises `UsageError` where the system owns it."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.is_file():
        raise UsageError(
            "this Python belongs to the operating system, which installs its packages itself",
            hint="python3 -m venv .venv && .venv/bin/pip install editcore",
        )
    flags = _YES if verb == "uninstall" else ()
    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", verb, *flags)
    uv = shutil.which("uv") or os.environ.get("UV")
    if uv is None:
        raise UsageError("this environment has neither pip nor uv", hint=f"{sys.executable} -m ensurepip")
    return (uv, "pip", verb, "--python", sys.executable)
