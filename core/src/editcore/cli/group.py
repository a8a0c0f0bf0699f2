"""The root group: commands by name and address, the core's from a table, a plugin's through its hook."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import click

from editcore.cli.commands import INNER
from editcore.plugins.contained import contained
from editcore.plugins.known import COMMANDS as PACKAGES
from editcore.text.suggest import suggestion
from editcore_hooks import PluginError, UsageError

BUILTIN = ""


class Command(NamedTuple):  # not of attrs, which takes longer to import than click
    """The module of a command, its line of help, and its source (a plugin and its distribution; empty: the core)."""

    target: str
    help: str
    plugin: str = BUILTIN
    distribution: str = "editcore"


class LazyGroup(click.Group):
    """Imports the module of a command when the command runs, and none to print the list of commands."""

    remembers = False
    """Whether the answers of plugins are kept between processes; not where a test or a program calls `main`."""

    def __init__(self, *arguments: Any, commands_table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._builtin = {name: Command(target, help) for name, (target, help) in commands_table.items()}

    @cached_property
    def offers(self) -> dict[str, list[Command]]:
        """Every command by name; a name that two plugins offer has two entries, and is refused when it is called."""
        offers = {name: [command] for name, command in self._builtin.items()}
        for name, command in self._of_plugins():
            offers.setdefault(name, []).append(command)
        return offers

    def _of_plugins(self) -> list[tuple[str, Command]]:
        if not self.remembers:
            from editcore.cli.plugin_commands import collect

            return list(collect(frozenset(self._builtin)))
        from editcore.cli.remembered import Remembered

        remembered = Remembered("commands")
        answer = remembered.recall()
        if answer is not None:
            return [(name, Command(*command)) for name, command in answer]
        from editcore.cli.plugin_commands import collect, healthy

        found = list(collect(frozenset(self._builtin)))
        if healthy():
            remembered.keep(found)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        own = list(self._builtin)
        return own + sorted(self.offers.keys() - self._builtin.keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # A command of the core is found without asking any plugin.
        if cmd_name in self._builtin:
            return _load(cmd_name, self._builtin[cmd_name])
        offered = self.offers.get(cmd_name, [])
        if len(offered) > 1:
            owners = " and ".join(f"{one.plugin} ({one.distribution})" for one in offered)
            raise PluginError(
                f"the command {cmd_name!r} is offered twice, by {owners}",
                hint=f"leave one out: EDITCORE_PLUGINS=-{offered[0].plugin}",
            )
        return _load(cmd_name, offered[0]) if offered else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and name not in self._builtin:
            self._refuse_unknown(name)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._rows(ctx)))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=help) for name, help in self._rows(ctx) if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def _rows(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        for name in self.list_commands(ctx):
            offered = self.offers[name]
            yield name, offered[0].help if len(offered) == 1 else "Offered by two plugins, and refused."

    def _refuse_unknown(self, name: str) -> None:
        if name in self.offers:
            return
        package = PACKAGES.get(name)
        if package is not None:
            from editcore.cli.plugin_commands import missing

            raise missing(name, package)
        near = INNER.get(name) or suggestion(name, {*self.offers, *PACKAGES})
        raise UsageError(f"there is no command {name!r}", hint=near or "editcore --help")


def _load(name: str, command: Command) -> click.Command:
    module, _, attribute = command.target.partition(":")
    try:
        with contained() if command.plugin != BUILTIN else nullcontext():
            loaded = getattr(import_module(module), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{command.target} is not a click command")
    except (Exception, SystemExit) as error:
        if command.plugin == BUILTIN:
            raise
        raise PluginError(
            f"the command {name!r} of the plugin {command.plugin} ({command.distribution}) is broken: "
            f"{type(error).__name__}: {error}",
            hint=f"pip install --upgrade {command.distribution}",
        ) from error
    return loaded
