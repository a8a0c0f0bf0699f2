"""Commands that plugins add. Their modules are named by a text and imported when the command runs."""

import re
from collections.abc import Collection, Iterator
from typing import Final

from editcore.cli.group import Command
from editcore.plugins.catalogue import unusable
from editcore.plugins.contained import contained
from editcore.plugins.discovery import failed
from editcore.plugins.record import Plugin
from editcore.plugins.registry import registry
from editcore.plugins.selection import normalised
from editcore_hooks import PluginError

_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


class CommandDoor:
    """The `cli` of a plugin: it can add commands by name and address, and nothing else."""

    def __init__(self, plugin: Plugin, taken: Collection[str]) -> None:
        self.commands: dict[str, Command] = {}
        self._plugin, self._taken = plugin.record, taken

    def add(self, name: str, target: str, help: str) -> None:
        """Add a command: its name, `package.module:command`, and one line on it. Raises ValueError."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid command name: use a-z, 0-9 and -")
        if not _TARGET.fullmatch(target):
            raise ValueError(f"the command {name!r} must be addressed as 'package.module:command', not {target!r}")
        if name in self._taken or name in self.commands:
            raise ValueError(f"the command {name!r} is already there")
        self.commands[name] = Command(target, help, self._plugin.name, self._plugin.distribution)


def collect(taken: Collection[str]) -> Iterator[tuple[str, Command]]:
    """The commands of all plugins that work; one whose hook raises, or takes a name that is taken, is marked broken."""
    for plugin in registry().plugins:
        if not plugin.ok or plugin.manager is None:
            continue
        door = CommandDoor(plugin, taken)
        try:
            with contained():
                plugin.manager.hook.editcore_register_commands(cli=door)
        except (Exception, SystemExit) as error:
            plugin.record, plugin.cause = failed(plugin.record, error).record, error
            continue
        yield from door.commands.items()


def healthy() -> bool:
    """Whether every plugin is usable or left out, so that what they answered will be answered again."""
    return all(plugin.record.status in ("ok", "blocked") for plugin in registry().plugins)


def missing(name: str, package: str) -> PluginError:
    """Why a command that is known is not there: its package is not installed, or not usable."""
    for plugin in registry().plugins:
        if normalised(plugin.record.distribution) == normalised(package):
            if not plugin.ok:
                return unusable(plugin, f"the command {name!r}")
            return PluginError(
                f"the installed {plugin.record.owner} has no command {name!r}", hint=f"pip install --upgrade {package}"
            )
    return PluginError(f"the command {name!r} is not installed", hint=f"pip install {package}")
