"""`editcore ability`: what is left of what the model could do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.authoring.commands import Output, load_patches, model_options, open_session, with_output

if TYPE_CHECKING:
    from editcore_lm_eval.compare import Figure


@click.command()
@click.argument("model")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Apply this patch for the second run.")
@click.option("--task", "tasks", multiple=True, required=True, metavar="NAME", help="A task or group of the harness.")
@click.option("--trust-task-folder", metavar="DIR", help="Folder of your own tasks in YAML. They can run Python code.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N documents of each task.")
@click.option(
    "--fewshot",
    type=click.IntRange(min=0),
    metavar="K",
    help="Number of examples before each document. Default: the task's.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Batch size.")
@model_options
@with_output
def ability(
    out: Output,
    model: str,
    patches: tuple[str, ...],
    tasks: tuple[str, ...],
    trust_task_folder: str | None,
    limit: int | None,
    fewshot: int | None,
    batch_size: int,
    **options: Any,
) -> None:
    """Run tasks of lm-evaluation-harness on MODEL as it is, and once more with patches on it."""
    import attrs

    from editcore_lm_eval.compare import figures
    from editcore_lm_eval.run import Settings, load_tasks, run_tasks

    settings = Settings(limit, fewshot, batch_size)
    loaded = load_patches(out, patches)
    known = load_tasks(tasks, None if trust_task_folder is None else Path(trust_task_folder))
    session = open_session(out, model, **options)
    with _library_quiet(out):
        without = run_tasks(session, tasks, known, settings)
    with_patches = None
    if loaded:
        with session.patched(*loaded), _library_quiet(out):
            with_patches = run_tasks(session, tasks, known, settings)
    found = figures(without, with_patches)
    if out.as_json:
        version = without.get("lm_eval_version")
        out.json({"lm_eval": version, "settings": attrs.asdict(settings), "figures": [attrs.asdict(f) for f in found]})
    else:
        columns = ["task", "metric", "n", "without", "with", "difference", "95 %"]
        out.table(columns, [_row(figure) for figure in found])


def _row(figure: "Figure") -> list[Any]:
    def shown(value: float | None, form: str = ".4f") -> str:
        return "" if value is None else format(value, form)

    name = figure.metric if figure.filter == "none" else f"{figure.metric} ({figure.filter})"
    interval = "" if figure.low is None else f"{shown(figure.low, '+.4f')} to {shown(figure.high, '+.4f')}"
    return [
        figure.task, name, figure.n, shown(figure.without), shown(figure.with_patches),
        shown(figure.difference, "+.4f"), interval,
    ]  # fmt: skip


@contextmanager
def _library_quiet(out: Output) -> Iterator[None]:
    """Keep the library's bars and notes, and those of the programs it starts, off a stderr that is no terminal."""
    if out.verbose or (sys.stderr.isatty() and not out.quiet):
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
