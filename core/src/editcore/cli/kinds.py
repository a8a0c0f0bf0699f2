"""`editcore locators`, `transforms`, `metrics` and `kinds`: what plugins offer beside methods."""

from typing import Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output


@click.command()
@click.argument("name", required=False)
@with_output
def locators(out: Output, name: str | None) -> None:
    """List locators, or show the hyper-parameters of the locator NAME."""
    show_kind(out, "locator", name)


@click.command()
@click.argument("name", required=False)
@with_output
def transforms(out: Output, name: str | None) -> None:
    """List transforms, or show the hyper-parameters of the transform NAME."""
    show_kind(out, "transform", name)


@click.command()
@click.argument("name", required=False)
@with_output
def metrics(out: Output, name: str | None) -> None:
    """List metrics and what their cases need, or show the metric NAME."""
    show_kind(out, "metric", name)


@click.command()
@click.argument("name", required=False)
@with_output
def kinds(out: Output, name: str | None) -> None:
    """List kinds of patches and what the host can do with them, or show the kind NAME."""
    show_kind(out, "patch kind", name)


def show_kind(out: Output, kind: str, name: str | None) -> None:
    """Print the classes of one kind, or one of them with its hyper-parameters."""
    from editcore.plugins.registry import registry

    known = registry()
    catalogue = next(one for one in known.catalogues if one.kind == kind)
    found = catalogue.named() if name is None else {name: catalogue.get(name)}
    rows = [(written, cls, *known.source_of(cls)) for written, cls in sorted(found.items())]
    if out.as_json:
        every = [as_json(*row) for row in rows]
        out.json(every if name is None else every[0])
    elif name is None:
        facts = list(FACTS[kind])
        out.table(
            ["name", "distribution", *facts, "summary"],
            [[written, distribution, *(FACTS[kind][fact](cls) for fact in facts), cls.summary]
             for written, cls, distribution, _ in rows],
        )  # fmt: skip
    else:
        _show(out, kind, rows[0])


def _show(out: Output, kind: str, row: tuple[str, Any, str, str]) -> None:
    from editcore.plugins.hparams import describe

    written, cls, distribution, version = row
    out.print(f"{written}: {cls.summary}" if cls.summary else written)
    facts = {label: fact(cls) for label, fact in FACTS[kind].items()}
    for label, text in {"paper": cls.paper, "from": f"{distribution} {version}", **facts}.items():
        if text:
            out.print(f"{label}: {text}")
    fields = describe(cls.Hparams)
    if fields:
        out.print()
        out.table(
            ["hyper-parameter", "type", "default", "symbol", "help", "source"],
            [[one.field, one.type, one.default, one.symbol, one.help, one.source] for one in fields],
        )


def as_json(written: str, cls: Any, distribution: str, version: str) -> dict[str, Any]:
    """One class as JSON values."""
    import attrs

    from editcore.plugins.hparams import describe

    kind = next(kind for kind, base in _bases().items() if issubclass(cls, base))
    return {
        "name": written,
        "summary": cls.summary,
        "paper": cls.paper,
        "distribution": distribution,
        "version": version,
        **{label: fact(cls) for label, fact in FACTS[kind].items()},
        "hparams": [attrs.asdict(one) for one in describe(cls.Hparams)],
    }


def _bases() -> dict[str, type]:
    from editcore_hooks import Locator, Metric, PatchKind, Transform

    return {"locator": Locator, "transform": Transform, "metric": Metric, "patch kind": PatchKind}


FACTS: dict[str, dict[str, Any]] = {
    "locator": {},
    "transform": {},
    "metric": {
        "better": lambda cls: cls.better,
        "needs": lambda cls: "; ".join(need.words for need in cls.needs),
        "usual": lambda cls: "yes" if cls.usual else "",
    },
    "patch kind": {
        "kind": lambda cls: cls.kind,
        "fold": lambda cls: "yes" if cls.folds() else "no",
        "apply": lambda cls: f"no: {cls.unapplied}",
    },
}
