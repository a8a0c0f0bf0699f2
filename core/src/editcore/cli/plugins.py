"""`editcore plugins`: what is installed, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from editcore.cli.group import Command
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.plugins_install import install, uninstall


class Duplicate(NamedTuple):
    """A name that several plugins offer."""

    kind: str
    name: str
    plugins: tuple[str, ...]
    distributions: tuple[str, ...]

    @property
    def sentence(self) -> str:
        both = f"the {self.kind} {self.name!r} is offered twice, by {' and '.join(self.distributions)}"
        if self.kind == "command" or len(set(self.distributions)) < len(self.distributions):
            return both
        return f"{both}: write {' or '.join(f'{one}:{self.name}' for one in self.distributions)}"


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """List, install and uninstall plugins, and find their faults."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(2)


plugins.add_command(install)
plugins.add_command(uninstall)


@plugins.command("list")
@with_output
def list_plugins(out: Output) -> None:
    """List every plugin with its state: ok, blocked, broken or incompatible. With -v, also its hooks and their time."""
    rows = _rows()
    if out.as_json:
        out.json(rows)
        return
    more = ["hooks", "ms"] if out.verbose else []
    out.table(
        ["name", "distribution", "version", "status", *more, "reason"],
        [
            [
                row["name"],
                row["distribution"],
                row["version"],
                row["status"],
                *([" ".join(hook.removeprefix("editcore_") for hook in row["hooks"]), row["load_ms"]] if more else ()),
                row["error"].partition("\n")[0] or "; ".join(row["duplicates"]),
            ]
            for row in rows
        ],
    )


def _rows() -> list[dict[str, Any]]:
    """Every record as JSON values, with the names that another plugin offers too; remembered while nothing changes."""
    from editcore.cli.remembered import Remembered

    root = click.get_current_context().find_root().command
    remembered = Remembered("plugins") if getattr(root, "remembers", False) else None
    rows: list[dict[str, Any]] | None = remembered.recall() if remembered else None
    if rows is not None:
        return rows
    from editcore.cli.plugin_commands import healthy
    from editcore.plugins.registry import registry

    duplicates = _duplicates(_ask_everything())
    rows = [
        {**_as_json(record), "duplicates": [one.sentence for one in duplicates if record.name in one.plugins]}
        for record in registry().records
    ]
    if remembered and healthy() and not duplicates:
        remembered.keep(rows)
    return rows


@plugins.command()
@with_output
def doctor(out: Output) -> int:
    """Load every plugin completely and show each fault with its traceback. Exits with 4 if there is one."""
    from editcore.plugins.doctor import faulty_classes
    from editcore.plugins.registry import registry

    known, duplicates = registry(), _duplicates(_ask_everything())
    faulty = [record for record in known.records if record.status in ("broken", "incompatible")]
    classes = faulty_classes(known)
    if out.as_json:
        repeated = [{"kind": one.kind, "name": one.name, "distributions": one.distributions} for one in duplicates]
        out.json({"faulty": [_as_json(record) for record in faulty], "duplicates": repeated, "classes": classes})
    else:
        for record in faulty:
            out.print(f"{record.name} ({record.owner}) is {record.status}: {record.error.strip()}\n")
        for duplicate in duplicates:
            out.print(f"{duplicate.sentence}\n")
        for found in classes:
            out.print(f"{found['name']} ({found['owner']}):")
            for fault in found["faults"]:
                out.print(f"  {fault}")
            out.print()
    if faulty or duplicates or classes:
        out.say("leave a plugin out with EDITCORE_PLUGINS=-NAME, or uninstall its distribution")
        return 4
    out.say(f"{len(known.records)} plugins, no faults found")
    return 0


@plugins.command()
@click.argument("name", required=False)
@with_output
def offers(out: Output, name: str | None) -> None:
    """List what plugins offer: methods, locators, transforms, metrics, datasets, architectures and patch kinds.

    With NAME, only the entry of that name or the entries of that kind, with hyper-parameters.
    """
    from editcore.plugins.hparams import describe
    from editcore.plugins.registry import registry
    from editcore.text.suggest import suggestion_or_list
    from editcore_hooks import UsageError

    known = registry()
    every = [(catalogue.kind, *pair) for catalogue in known.catalogues for pair in sorted(catalogue.named().items())]
    found = [row for row in every if name is None or name in (row[0], f"{row[0]}s", row[1], row[2].name)]
    if not found:
        names = {one for row in every for one in row[:2]}
        raise UsageError(f"no plugin offers {name!r}", hint=suggestion_or_list(name or "", names))
    rows = [(kind, written, cls, known.source_of(cls), describe(cls.Hparams)) for kind, written, cls in found]
    if out.as_json:
        out.json([_offer(*row) for row in rows])
        return
    out.table(
        ["kind", "name", "distribution", "version", "summary", "hyper-parameters"],
        [
            [kind, written, *source, cls.summary, " ".join(f"{one.field}={one.default}" for one in hparams)]
            if name is not None or kind != "method"
            else [kind, written, *source, cls.summary, f"editcore methods {written}"]
            for kind, written, cls, source, hparams in rows
        ],
    )


def _offer(kind: str, written: str, cls: Any, source: tuple[str, str], hparams: Any) -> dict[str, Any]:
    import attrs

    of = {"kind": kind, "name": written, "distribution": source[0], "version": source[1], "summary": cls.summary}
    return {**of, "hparams": [attrs.asdict(row) for row in hparams]}


def _ask_everything() -> dict[str, list[Command]]:
    """Have every plugin register all it has; returns the commands of plugins by name."""
    from editcore.cli.commands import COMMANDS
    from editcore.cli.plugin_commands import collect
    from editcore.plugins.registry import registry

    registry().ask_everything()
    offered: dict[str, list[Command]] = {}
    for name, command in collect(COMMANDS):
        offered.setdefault(name, []).append(command)
    return offered


def _duplicates(offered: Mapping[str, Sequence[Command]]) -> list[Duplicate]:
    """Every name that several plugins offer; such a name is refused."""
    from editcore.plugins.registry import registry

    found = [
        (catalogue.kind, name, [(plugin.record.name, plugin.record.distribution) for plugin in owners])
        for catalogue in registry().catalogues
        for name, owners in sorted(catalogue.refused().items())
    ]
    found += [
        ("command", name, [(command.plugin, command.distribution) for command in commands])
        for name, commands in sorted(offered.items())
        if len(commands) > 1
    ]
    return [Duplicate(kind, name, *zip(*owners, strict=True)) for kind, name, owners in found]


def _as_json(record: Any) -> dict[str, Any]:
    import attrs

    return attrs.asdict(record)
