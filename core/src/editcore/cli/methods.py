"""`editcore methods`: what can edit, and what can be set."""

from typing import Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output


@click.command()
@click.argument("name", required=False)
@with_output
def methods(out: Output, name: str | None) -> None:
    """List editing methods, or show the hyper-parameters of the method NAME."""
    if name is None:
        _list(out)
    else:
        _show(out, name)


def _list(out: Output) -> None:
    from editcore.plugins.abilities import Abilities
    from editcore.plugins.registry import registry

    known = registry()
    found = [(cls, *known.source_of(cls)) for cls in known.methods.named().values()]
    if any(record.status in ("broken", "incompatible") for record in known.records):
        out.warn("some plugins cannot be used. Find out why with `editcore plugins doctor`")
    if out.as_json:
        out.json([_as_json(*method) for method in found])
    elif found:
        out.table(
            ["name", "distribution", "can do", "summary"],
            [
                [known.methods.written(cls), distribution, ", ".join(Abilities.of(cls).words), cls.summary]
                for cls, distribution, _ in found
            ],
        )
    else:
        out.say("no method is installed. Install one: pip install editcore-rome")


def _show(out: Output, name: str) -> None:
    from editcore.plugins.abilities import Abilities
    from editcore.plugins.hparams import describe
    from editcore.plugins.presets import preset_names
    from editcore.plugins.registry import registry

    known = registry()
    cls = known.method(name)
    distribution, version = known.source_of(cls)
    rows = describe(cls.Hparams)
    abilities = Abilities.of(cls)
    presets = preset_names(cls)
    if out.as_json:
        import attrs

        out.json(
            {
                **_as_json(cls, distribution, version),
                "presets": list(presets),
                "hparams": [attrs.asdict(row) for row in rows],
            }
        )
        return
    out.print(f"{cls.name}: {cls.summary}" if cls.summary else cls.name)
    for label, text in (
        ("paper", cls.paper),
        ("from", f"{distribution} {version}"),
        ("edits", ", ".join(sorted(cls.capabilities))),
        ("needs first", abilities.needs),
        ("revert", abilities.reverts),
        ("presets", ", ".join(presets)),
    ):
        if text:
            out.print(f"{label}: {text}")
    out.print()
    out.table(
        ["hyper-parameter", "type", "default", "symbol", "help", "source"],
        [[row.field, row.type, row.default, row.symbol, row.help, row.source] for row in rows],
    )


def _as_json(cls: Any, distribution: str, version: str) -> dict[str, Any]:
    from editcore.plugins.abilities import Abilities

    abilities = Abilities.of(cls)
    return {
        "name": cls.name,
        "summary": cls.summary,
        "paper": cls.paper,
        "distribution": distribution,
        "version": version,
        "capabilities": sorted(cls.capabilities),
        "needs": abilities.needs,
        "reverts": abilities.reverts,
    }
