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


@plugins.command()
@click.argument("name", required=False)
@with_output
def offers(out: Output, name: str | None) -> None:
    """List what plugins offer: methods, locators, transforms, metrics, datasets, architectures and patch kinds.

    With NAME, only what is called so or is of that kind, with its hyper-parameters.
    """
    from editcore.plugins.hparams import describe
    from editcore.plugins.registry import registry
    from editcore.plugins.suggest import suggestion_or_list
    from editcore_hooks import UsageError

    known = registry()
    every = [(catalogue.kind, cls) for catalogue in known.catalogues for _, cls in sorted(catalogue.classes().items())]
    found = [(kind, cls) for kind, cls in every if name is None or name in (kind, f"{kind}s", cls.name)]
    if not found:
        names = {cls.name for _, cls in every} | {kind for kind, _ in every}
        raise UsageError(f"no plugin offers {name!r}", hint=suggestion_or_list(name or "", names))
    rows = [(kind, cls, known.source_of(cls), describe(cls.Hparams)) for kind, cls in found]
    if out.as_json:
        out.json([_offer(*row) for row in rows])
        return
    out.table(
        ["kind", "name", "distribution", "version", "summary", "hyper-parameters"],
        [
            [kind, cls.name, *source, cls.summary, " ".join(f"{one.field}={one.default}" for one in hparams)]
            if name is not None or kind != "method"
            else [kind, cls.name, *source, cls.summary, f"editcore methods {cls.name}"]
            for kind, cls, source, hparams in rows
        ],
    )


def _offer(kind: str, cls: Any, source: tuple[str, str], hparams: Any) -> dict[str, Any]:
    import attrs

    of = {"kind": kind, "name": cls.name, "distribution": source[0], "version": source[1], "summary": cls.summary}
    return {**of, "hparams": [attrs.asdict(row) for row in hparams]}


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
