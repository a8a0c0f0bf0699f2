"""`editcore train`: what a method needs before its first edit."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import patch_output, require_cache, require_writable
from editcore.cli.requests import read_file
from editcore.text.ids import short
from editcore_hooks import Case

if TYPE_CHECKING:
    from editcore_hooks import Asset


@click.command()
@click.argument("model")
@click.option("--method", required=True, help="Method to train; see `editcore methods`.")
@click.option(
    "--data",
    required=True,
    metavar="FILE|LAYOUT:FILE",
    help="Cases, or a file of a layout in `editcore datasets`.",
)
@click.option("-o", "--output", metavar="FILE", help="Also write the result to this file; the cache keeps it too.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One hyper-parameter of the method.")
@click.option("--steps", type=click.IntRange(1), help="Largest number of steps.  [default: the method's]")
@click.option("--batch", type=click.IntRange(1), help="Cases a portion.")
@click.option("--accumulate", type=click.IntRange(1), help="Portions a step.")
@click.option("--validation", type=click.IntRange(1), help="Cases that are held out and measured.")
@click.option("--every", type=click.IntRange(1), help="Steps between two measurements.")
@click.option("--patience", type=click.IntRange(0), help="Measurements without a better figure until it stops.")
@click.option("--stop-on", metavar="FIGURE", help="Figure that decides when it stops and which state is kept.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N cases.")
@click.option("--picture", metavar="FILE.png", help="Write the learning curves as a picture.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing file.")
@model_options
@with_output
def train(
    out: Output,
    model: str,
    method: str,
    data: str,
    output: str | None,
    settings: tuple[str, ...],
    limit: int | None,
    picture: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Train what METHOD needs on MODEL, and keep it: `editcore edit` finds it by itself.

    A training that was stopped is resumed by the same command, to the same bits.
    """
    from editcore.editing.prepared import EditOptions
    from editcore.plugins.hparams import settings_mapping
    from editcore.plugins.registry import registry

    path = None if output is None else patch_output(output, overwrite=overwrite)
    if picture is not None:
        from editcore.training.picture import require_picture

        require_picture(picture, overwrite=overwrite)
        require_writable(Path(picture))
    require_cache()
    cls = registry().method(method)
    layers = (("--set", settings_mapping(cls.Hparams, settings)),) if settings else ()
    names = ("steps", "batch", "accumulate", "validation", "every", "patience", "stop_on")
    plan = {name: value for name in names if (value := options.pop(name)) is not None}
    cases = _cases(data)[:limit]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    from editcore.training.train import train as run

    session = open_session(out, model, **options)
    asset = run(session, cases, EditOptions(method=method, tune=False, hparams=layers), plan)
    about = session.assets.about(asset)
    if path is not None:
        from editcore.storage import durable

        durable.write_atomically(path, [asset.path.read_bytes()])
    if picture is not None:
        from editcore.training.picture import draw

        draw(about["curve"], Path(picture), f"{asset.parameters['method']} on {session.loaded.name}")
    _show(out, asset, about, output)


def _cases(data: str) -> list[Case]:
    from editcore.plugins.registry import registry
    from editcore.training.data import read_data

    if data == "-" or Path(data).is_file():
        return read_file(data)
    return read_data(registry(), data)


def _show(out: Output, asset: "Asset", about: Any, output: str | None) -> None:
    if out.as_json:
        out.json({"path": output or str(asset.path), "sha256": asset.sha256, **about})
        return
    kept = about["kept"]
    out.table(
        ["step", *about["curve"][0]["losses"], *about["curve"][0]["figures"]],
        [[row["step"], *_rounded(row["losses"]), *_rounded(row["figures"])] for row in about["curve"]],
    )
    out.say(f"kept step {kept['step']}, {kept['figure']} {kept['value']:.4g}, over {about['validation_cases']} cases")
    out.print(f"{output or asset.path}  {short(asset.sha256)}")


def _rounded(values: Any) -> list[str]:
    return [f"{value:.4g}" for value in values.values()]
