"""`editcore plugins`: what is installed, and what is wrong with it."""

from typing import Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output


@click.group(no_args_is_help=False)
def plugins() -> None:
    """List what is installed, and find what is wrong with it."""


@plugins.command("list")
@with_output
def list_plugins(out: Output) -> None:
    """List every plugin with its state: ok, blocked, broken or incompatible."""
    from editcore.plugins.registry import registry

    _ask_everything()
    records = registry().records
    if out.as_json:
        out.json([_as_json(record) for record in records])
        return
    out.table(
        ["name", "distribution", "version", "status", "hooks", "ms", "reason"],
        [
            [
                record.name,
                record.distribution,
                record.version,
                record.status,
                " ".join(hook.removeprefix("editcore_") for hook in record.hooks),
                record.load_ms,
                record.reason,
            ]
            for record in records
        ],
    )


@plugins.command()
@with_output
def doctor(out: Output) -> int:
    """Load all of every plugin and show each fault with its traceback; exit code 4 when there is one."""
    from editcore.plugins.registry import registry

    known, offered = registry(), _ask_everything()
    duplicates = [
        {"kind": catalogue.kind, "name": name, "distributions": [plugin.record.distribution for plugin in owners]}
        for catalogue in known.catalogues
        for name, owners in sorted(catalogue.refused().items())
    ]
    duplicates += [
        {"kind": "command", "name": name, "distributions": owners}
        for name, owners in sorted(offered.items())
        if len(owners) > 1
    ]
    faulty = [record for record in known.records if record.status in ("broken", "incompatible")]
    if out.as_json:
        out.json({"faulty": [_as_json(record) for record in faulty], "duplicates": duplicates})
    else:
        for record in faulty:
            out.print(f"{record.name} ({record.owner}) is {record.status}: {record.error.strip()}\n")
        for duplicate in duplicates:
            owners = " and ".join(duplicate["distributions"])
            out.print(f"the {duplicate['kind']} {duplicate['name']!r} is offered twice, by {owners}\n")
    if faulty or duplicates:
        out.say("leave a plugin out with EDITCORE_PLUGINS=-NAME, or uninstall its distribution")
        return 4
    out.say(f"{len(known.records)} plugins, nothing is wrong")
    return 0


def _ask_everything() -> dict[str, list[str]]:
    """Have every plugin register all it has; returns the commands of plugins, each with who offers it."""
    from editcore.cli.commands import COMMANDS
    from editcore.cli.plugin_commands import collect
    from editcore.plugins.registry import registry

    registry().ask_everything()
    offered: dict[str, list[str]] = {}
    for name, command in collect(COMMANDS):
        offered.setdefault(name, []).append(command.distribution)
    return offered


def _as_json(record: Any) -> dict[str, Any]:
    import attrs

    return attrs.asdict(record)
