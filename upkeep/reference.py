"""Pages that are made from the code: of hooks by their specifications, of commands by their help, and of classes."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from upkeep.distributions import distributions

WRITTEN = "Written by `make lists` from the code; do not edit it."
SHAPE: Final[Mapping[str, Any]] = {
    "max_content_width": 100, "terminal_width": 100, "help_option_names": ["-h", "--help"],
}  # fmt: skip
"""Of every context: a command remembers the names of its help option from the first one that asks."""


def hooks(_: str = "") -> str:
    """docs/hooks.md: every hook with its arguments and its docstring."""
    from editcore_hooks import API_VERSION, specs

    lines = [f"# Hooks\n\n{WRITTEN} Contract {API_VERSION}. [Writing a plugin](plugins.md) shows how they are used.\n"]
    for name, function in vars(specs).items():
        if name.startswith("editcore_") and inspect.isfunction(function):
            signature = str(inspect.signature(function)).replace("'", "").replace('"', "")
            options = getattr(function, "editcore_spec", {})
            first = " The first answer counts." if options.get("firstresult") else ""
            lines.append(f"## `{name}`\n\n```python\n{name}{signature}\n```\n\n{_prose(function)}{first}\n")
    return "\n".join(lines)


def commands(_: str = "") -> str:
    """docs/commands.md: the help of every command of the distributions that the development environment installs."""
    from editcore.cli import root

    ours = {one.name for one in distributions() if one.installed}
    context = click.Context(root, info_name="editcore", **SHAPE)
    offered = root.offers  # type: ignore[attr-defined]
    names = [name for name, found in offered.items() if not found[0].distribution or found[0].distribution in ours]
    lines = [f"# Commands\n\n{WRITTEN}\n", _help("editcore", root, context, names)]
    for name in sorted(names):
        command = root.get_command(context, name)
        if command is not None:
            lines += _pages(command, click.Context(command, context, name, **SHAPE))
    return "\n".join(lines)


def _pages(command: click.Command, context: click.Context) -> Iterator[str]:
    yield _help(context.command_path, command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _pages(below, click.Context(below, context, name, **SHAPE))


def _help(path: str, command: click.Command, context: click.Context, names: Sequence[str] = ()) -> str:
    """A section of one command. The root lists commands of any plugin that is there, so only its own are kept."""
    text = context.get_help() if not names else f"{command.help}\n\nCommands: {', '.join(sorted(names))}."
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return f"## `{path}`\n\n```text\n{text}\n```\n"


def method_page(cls: Any, distribution: str, readme: str) -> str:
    """The page of one method: idea and equation from its distribution's page, the rest from its class."""
    from editcore.plugins.abilities import Abilities
    from editcore.plugins.presets import preset_names

    can = Abilities.of(cls)
    facts = [
        ("paper", cls.paper),
        ("distribution", f"`{distribution}`"),
        ("many facts in one update", "yes" if can.batch else "no: one fact an update"),
        ("reads earlier edits", "yes" if can.sequential else "no"),
        ("encoder-decoders", "yes" if can.encoder_decoder else "no"),
        ("needs first", can.needs or "nothing"),
        ("what is taken back", can.reverts),
        ("presets", ", ".join(preset_names(cls)) or "none"),
        ("models", "[families](../docs/models.md)"),
        ("figures", "[benchmarks](../docs/benchmarks.md)"),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts if value)])
    about = _prose(cls) if cls.__doc__ else ""
    return (
        f"# {cls.name}\n\n{_sentence(cls.summary)} {about}\n\n{table}\n\n## Hyper-parameters\n\n{fields(cls)}\n\n"
        f"Idea, equations and what was measured: [{distribution}](../{readme}).\n\n"
        f"```\neditcore methods {cls.name}\n"
        f"editcore edit MODEL --method {cls.name} --prompt TEXT --subject TEXT --target TEXT -o FACT.safetensors\n```\n"
    )


def kind_page(kind: str, rows: Sequence[tuple[str, Any, str]]) -> str:
    """One page of all classes of a kind."""
    from editcore.cli.kinds import FACTS

    lines = [f"# {kind.capitalize()}s\n"]
    for written, cls, distribution in rows:
        facts = {name: str(fact(cls)) for name, fact in FACTS.get(kind, {}).items()}
        shown = "; ".join(f"{name}: {_cell(value)}" for name, value in facts.items() if value)
        shown = f" {shown}." if shown else ""
        lines.append(f"## {written}\n\n{_sentence(cls.summary)} From `{distribution}`.{shown}\n")
        if cls.paper:
            lines.append(f"{cls.paper}\n")
        if table := fields(cls):
            lines.append(f"{table}\n")
    return "\n".join(lines)


def fields(cls: Any) -> str:
    """The table of hyper-parameters; empty where there are none."""
    from editcore.plugins.hparams import describe

    rows = [
        f"| `{row.field}` | {_cell(row.type)} | {_cell(row.default)} | {_cell(row.symbol)} | {_cell(row.help)} "
        f"| {_cell(row.source)} |"
        for row in describe(cls.Hparams)
    ]
    head = ["| name | type | default | symbol | meaning | source |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else ""


def _prose(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _cell(text: str) -> str:
    """Text in a cell of a table: no bar, no line end, and no markup of its own."""
    return re.sub(r"([|*_<>])", r"\\\1", " ".join(str(text).split())) if "](" not in str(text) else str(text)
