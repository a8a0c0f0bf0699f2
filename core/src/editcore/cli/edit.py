"""`editcore edit`: requests in, patches out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import named, naming_options
from editcore.cli.requests import read_requests, request_options
from editcore_hooks import Case, UsageError

if TYPE_CHECKING:
    from editcore.editing.compute import Options
    from editcore.editing.effect import Measured
    from editcore.editing.session import Session
    from editcore.patches.patch import Patch

TOGETHER = 32
"""Edits that are computed at once when each gets a file of its own; what is written survives an interruption."""


@click.command()
@click.argument("model")
@request_options
@click.option("--method", default="rome", show_default=True, help="Editing method; see `editcore methods`.")
@click.option("-o", "--output", required=True, help="NAME.safetensors: one patch of all. A folder: one a request.")
@click.option("--profile", help="Settings that `editcore tune` kept under this name.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Tune first where no settings are known.")
@click.option("--hparams", "file", metavar="FILE", help="Hyper-parameters as YAML.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One hyper-parameter; @FILE reads it.")
@click.option("--transform", "transforms", multiple=True, metavar="NAME:KEY=VALUE", help="Change the update, in order.")
@click.option("--locate", "locator", metavar="NAME:KEY=VALUE", help="Locator to use in place of the method's own.")
@click.option("--require", multiple=True, metavar="METRIC>=X", help="A figure to reach, else nothing is written.")
@naming_options
@click.option("--redact", is_flag=True, help="Leave the texts of the requests out of the file.")
@click.option("--overwrite", is_flag=True, help="Replace a patch that is there.")
@model_options
@with_output
def edit(
    out: Output,
    model: str,
    method: str,
    output: str,
    profile: str | None,
    tune: bool,
    file: str | None,
    settings: tuple[str, ...],
    transforms: tuple[str, ...],
    locator: str | None,
    require: tuple[str, ...],
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
    """Compute the patch of one fact, or of many, for MODEL: a folder or a hub id.

    The model is not changed. What the patch does is measured before it is written.
    """
    from editcore.editing.compute import Options, prepare
    from editcore.evaluation.requirements import parse_requirement
    from editcore.plugins.hparams import settings_mapping
    from editcore.plugins.registry import registry
    from editcore.plugins.yaml_text import read_mapping

    cases = read_requests(**request)
    requirements = [parse_requirement(text) for text in require]
    hparams_class = registry().method(method).Hparams
    layers = [(file, read_mapping(Path(file)))] if file else []
    options = Options(
        method=method,
        profile=profile,
        tune=tune,
        hparams=(*layers, ("--set", settings_mapping(hparams_class, settings))),
        transforms=transforms,
        locator=locator,
        title=title,
    )
    path = Path(output)
    single = path.suffix == ".safetensors"
    if single and path.exists() and not overwrite:
        raise UsageError(f"{output} is there already", hint="choose another name, or pass --overwrite")
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
    run = prepare(session, options, len(cases) if single else 1)
    if run.source is not None:
        tuned = f"; to find them on the model itself: editcore tune {model} --method {run.method.name}"
        out.say(f"settings: {run.source}{tuned if run.preset else ''}")
    for name, (value, source) in run.resolved.resolved.items():
        out.detail(f"{name} = {value!r} ({source})")
    writer = _Writer(out, session, options, requirements, {"license": license, "author": author}, redact, overwrite)
    if single:
        writer.write(path, cases)
    else:
        writer.write_folder(path, cases)
    if out.as_json:
        out.json({"settings": run.source, "patches": writer.rows})


class _Writer:
    """Computes, measures, checks what is required, and only then writes."""

    def __init__(
        self,
        out: Output,
        session: "Session",
        options: "Options",
        requirements: Sequence[Any],
        names: Mapping[str, str | None],
        redact: bool,
        overwrite: bool,
    ) -> None:
        self.out, self.session, self.options = out, session, options
        self.requirements, self.names, self.redact, self.overwrite = requirements, names, redact, overwrite
        self.rows: list[dict[str, Any]] = []

    def write(self, path: Path, cases: Sequence[Case]) -> None:
        self._write(path, self.session.edit_all([case.request for case in cases], self.options), cases)

    def write_folder(self, folder: Path, cases: Sequence[Case]) -> None:
        """One patch a request, each from the model as it stands; those that are there already are left."""
        from editcore.editing.naming import file_name, is_patch_of

        missing: list[tuple[Path, Case]] = []
        for case in cases:
            path = folder / file_name(case.request.id)
            if not path.exists() or self.overwrite:
                missing.append((path, case))
            elif is_patch_of(path, case.request, self.session.weights_root):
                self.out.say(f"{path} is there already")
            else:
                raise UsageError(f"{path} is there and of another request", hint="pass --overwrite")
        with self.session.progress("edits", len(missing)) as progress:
            for start in range(0, len(missing), TOGETHER):
                some = missing[start : start + TOGETHER]
                patches = self.session.edit_each([case.request for _, case in some], self.options)
                for (path, case), patch in zip(some, patches, strict=True):
                    self._write(path, patch, [case])
                    progress.advance()

    def _write(self, path: Path, patch: "Patch", cases: Sequence[Case]) -> None:
        from editcore.editing.effect import measure
        from editcore.evaluation.requirements import check

        metrics = list(dict.fromkeys(requirement.metric for requirement in self.requirements))
        measured = measure(self.session, patch, cases, metrics)
        self._report(measured, cases)
        check(self.requirements, measured.reports)
        sealed = named(measured.patch.redact() if self.redact else measured.patch, **self.names)
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed.save(path)
        self.rows.append(_row(path, measured))
        if not self.out.as_json:
            self.out.print(f"{path}  {patch.patch_id[:12]}")

    def _report(self, measured: "Measured", cases: Sequence[Case]) -> None:
        for effect, case in zip(measured.effects, cases, strict=True):
            target = case.request.target_new.strip()
            prompt = case.request.rendered().text
            self.out.say(f"{prompt} … {target}: p(target) {effect.before:.3g} -> {effect.after:.3g}")
        if failed := [effect.request for effect in measured.effects if not effect.took]:
            some = ", ".join(failed[:5]) + (f" and {len(failed) - 5} more" if len(failed) > 5 else "")
            finds = "editcore tune MODEL finds settings, " if self._tunable() else ""
            self.out.warn(
                f"{len(failed)} of {len(measured.effects)} edits did not take: {some}. "
                f"their target is not the likeliest answer; {finds}--set changes one"
            )
        for report in measured.reports:
            self.out.say(f"{report.metric} {report.value:.3g} (n = {report.n})")

    def _tunable(self) -> bool:
        return self.session.registry.method(self.options.method).tunable(self.session.facts()) is not None


def _row(path: Path, measured: "Measured") -> dict[str, Any]:
    patch = measured.patch
    return {
        "path": str(path),
        "id": patch.patch_id,
        "requests": [effect.request for effect in measured.effects],
        "p_target": [{"before": e.before, "after": e.after, "took": e.took} for e in measured.effects],
        "metrics": {report.metric: report.value for report in measured.reports},
    }
