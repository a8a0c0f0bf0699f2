"""`editcore edit`: requests in, patches out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.early import check_model, require_chat_template, require_layers, require_needs, require_profile
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import naming_options
from editcore.cli.places import PATCH, patch_output, require_cache
from editcore.cli.requests import read_requests, request_options
from editcore.text.shell import quoted
from editcore_hooks import EditMethod, UsageError

if TYPE_CHECKING:
    from editcore.evaluation.reports.requirements import Requirement


@click.command()
@click.argument("model")
@request_options
@click.option("--method", default="rome", show_default=True, help="Editing method; see `editcore methods`.")
@click.option(
    "-o", "--output", required=True, help="NAME.safetensors: one patch for all. A folder: one patch a request."
)
@click.option("--profile", help="Profile that `editcore tune` kept under this name.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Tune first if no settings are known.")
@click.option("--quick", is_flag=True, help="Edit at once with settings by depth, and show what that costs.")
@click.option("--hparams", "file", metavar="FILE", help="YAML file of hyper-parameters.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="One hyper-parameter; @FILE reads its value from a file.",
)
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    metavar="NAME:KEY=VALUE",
    help="Transform of the update; repeat in order.",
)
@click.option("--locate", "locator", metavar="NAME:KEY=VALUE", help="Locator to use instead of the method's own.")
@click.option("--require", multiple=True, metavar="METRIC>=X", help="Required score; otherwise no patch is written.")
@click.option("--allow-failed", is_flag=True, help="Write the patch even if its edit did not take, and exit with 0.")
@naming_options
@click.option("--redact", is_flag=True, help="Omit the texts of the requests from the file.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing patch.")
@model_options
@with_output
def edit(
    out: Output,
    model: str,
    method: str,
    output: str,
    profile: str | None,
    tune: bool,
    quick: bool,
    file: str | None,
    settings: tuple[str, ...],
    transforms: tuple[str, ...],
    locator: str | None,
    require: tuple[str, ...],
    allow_failed: bool,
    title: str | None,
    license: str | None,
    author: str | None,
    redact: bool,
    overwrite: bool,
    device: str,
    dtype: str | None,
    revision: str | None,
    seed: int,
    architecture: str | None,
    trust_remote_code: bool,
    **request: Any,
) -> None:
    """Compute a patch for one fact or many on MODEL, a folder or a hub id.

    The model is not changed. The patch is measured before it is written: an edit takes if every token of its target is
    the model's likeliest. If an edit did not take, no patch is written, and the exit code is 5.
    """
    from editcore.evaluation.reports.requirements import parse_requirement

    if quick and profile is not None:
        raise UsageError("--quick and --profile exclude each other", hint="a profile takes no time: leave out --quick")
    cases = read_requests(**request)
    requirements = [parse_requirement(text) for text in require]
    require_needs(requirements, cases)
    path = patch_output(output, overwrite=overwrite, folders=True)
    require_cache()
    cls, layers = _checked(model, revision, dtype, method, requirements, file, settings, transforms, locator)

    from editcore.plugins.registry import registry

    require_chat_template(model, revision, cases)
    require_profile(registry().methods.written(cls), profile)

    from editcore.cli.edit_writer import Writer
    from editcore.editing.prepared import EditOptions
    from editcore.tuning.prepare import prepare
    from editcore.tuning.quick import cost_of_quick

    options = EditOptions(
        method=registry().methods.written(cls),
        profile=profile,
        tune=tune and not quick,
        hparams=layers,
        transforms=transforms,
        locator=locator,
        title=title,
    )
    single = path.suffix == PATCH
    if not single and not path.exists() and not output.endswith(os.sep):
        one = quoted(f"{path}{PATCH}")
        out.say(f"{path} will be a folder with one patch a request; for one file of all: -o {one}")
    session = open_session(
        out,
        model,
        device=device,
        dtype=dtype,
        revision=revision,
        seed=seed,
        architecture=architecture,
        trust_remote_code=trust_remote_code,
    )
    together = len(cases) if single else 1
    run = prepare(session, options, together)
    for line in cost_of_quick(session, run, together) if quick else ():
        out.say(line)
    if run.source is not None:
        tuned = f"; to find them on the model itself: editcore tune {quoted(model)} --method {run.method.name}"
        out.say(f"settings: {run.source}{tuned if run.preset else ''}")
    else:
        out.say(f"settings: the method's defaults{' and yours' if any(values for _, values in layers) else ''}")
    for name, (value, source) in run.resolved.resolved.items():
        out.detail(f"{name} = {value!r} ({source})")
    names = {"license": license, "author": author}
    writer = Writer(out, session, options, requirements, names, redact, overwrite, allow_failed, model)
    if single:
        writer.write(path, cases)
    else:
        writer.write_folder(path, cases)
    if out.as_json:
        out.json({"settings": run.source, "patches": writer.rows})
    writer.require_taken()


def _checked(
    model: str,
    revision: str | None,
    dtype: str | None,
    method: str,
    requirements: "Sequence[Requirement]",
    file: str | None,
    settings: Sequence[str],
    transforms: Sequence[str],
    locator: str | None,
) -> tuple[type[EditMethod], tuple[tuple[str, Mapping[str, Any]], ...]]:
    """The method and its layers of values. Refuses what files alone can decide, before torch is imported."""
    from editcore.plugins.hparams import merge, settings_mapping
    from editcore.plugins.locators import make_locator
    from editcore.plugins.registry import registry
    from editcore.plugins.transforms import make_transforms
    from editcore.text.yaml_text import read_mapping

    known = registry()
    cls = known.method(method)
    for requirement in requirements:
        known.metric(requirement.metric)
    from_file = [(file, read_mapping(Path(file)))] if file else []
    try:
        layers = (*from_file, ("--set", settings_mapping(cls.Hparams, settings)))
        resolved = merge(cls.Hparams, *layers)
    except UsageError as error:
        raise UsageError(f"{cls.name}: {error.message}", hint=error.hint or f"editcore methods {cls.name}") from None
    place = make_locator(known, locator)
    make_transforms(known, transforms)
    n_layers = check_model(model, revision, dtype)
    require_layers(resolved.hparams, n_layers, model, cls.name)
    if place is not None:
        require_layers(place.hparams, n_layers, model, f"--locate {place.name}")
    return cls, layers
