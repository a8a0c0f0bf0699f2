"""`editcore bench run`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.authoring.commands import Output, quoted, with_output
from editcore_hooks import EditcoreError, UsageError

if TYPE_CHECKING:
    from editcore_bench.runs.engines import Engine


@click.command()
@click.argument("spec")
@click.option("-o", "--out", "folder", metavar="DIR", help="Run folder; an existing run is resumed.")
@click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="Folder or hub id of the model, instead of the spec's."
)
@click.option("--data", multiple=True, metavar="NAME=[LAYOUT:]FILE", help="File of a dataset.")
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help="Method to run instead of the spec's; may be repeated."
)
@click.option("--n", type=click.IntRange(1), help="Number of cases of each dataset, instead of the spec's.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of processes, which share the cores.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Engine that runs the cells.",
)
@click.option("--address", metavar="HOST:PORT", help="Address of a Ray cluster; auto finds one. Implies --engine ray.")
@click.option("--encoder", metavar="DIR", help="Sentence encoder for the baseline retrieved-fact.")
@click.option("--device", default="cpu", show_default=True, help="Device of the models.")
@click.option("--dtype", help="Dtype of the computation: float32, bfloat16, float16. Default: float32 on a CPU.")
@with_output
def run(
    out: Output,
    spec: str,
    folder: str | None,
    models: tuple[str, ...],
    data: tuple[str, ...],
    methods: tuple[str, ...],
    n: int | None,
    workers: int,
    engine: str,
    address: str | None,
    encoder: str | None,
    device: str,
    dtype: str | None,
) -> int:
    """Run SPEC, a YAML file or the name of a shipped spec, and show the figures.

    Stop it at any time: the same command resumes it and does not repeat finished cells.
    """
    from editcore.authoring.settings import registry
    from editcore_bench.cli.report import show
    from editcore_bench.report.figures import cell_figures
    from editcore_bench.runs.prepared import Machine, prepare
    from editcore_bench.runs.run import run as run_cells
    from editcore_bench.spec.reading import Choice, read_spec
    from editcore_bench.spec.shipped import find_spec

    path = find_spec(spec)
    asked = read_spec(path, registry(), Choice(models, _data(data), methods, n))
    prepared = prepare(asked, registry(), Machine(device, dtype), encoder)
    if len(prepared.spec.methods) < len(asked.methods):
        out.warn(
            "no sentence encoder is installed, so retrieved-fact is left out: pip install 'editcore-bench[retrieval]'"
        )
    place = Path(folder or f"bench-{asked.name}")
    out.say(f"{asked.title}: {len(prepared.spec.cells())} cells, kept in {place}")
    ended = run_cells(prepared, place, _engine(engine, workers, address), out.say, lambda n: out.progress("edits", n))
    for label, failure in ended.failed:
        out.warn(f"{label} has no figures: {failure.message}")
        out.detail(failure.trace)
    if found := cell_figures(ended.folder):
        show(out, found)
        out.say(f"make a page of it with: editcore bench report {quoted(place)}")
    if ended.failed:
        raise EditcoreError(f"{len(ended.failed)} cells have no figures", hint="run the same command again to try them")
    return 0


def _data(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not name or not equals or not path:
            raise UsageError(f"--data {pair!r} names no dataset and file", hint="write --data counterfact=FILE")
        found[name] = path
    return found


def _engine(name: str, workers: int, address: str | None) -> "Engine":
    from editcore_bench.runs.engines import Here, Processes
    from editcore_bench.runs.on_ray import OnRay

    if name == "ray" or address is not None:
        return OnRay(workers, address)
    return Here() if workers == 1 else Processes(workers)
