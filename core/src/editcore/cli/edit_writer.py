"""Steps of `editcore edit` on an open model: compute, measure, check, and only then write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.cli.output import Output
from editcore.cli.patch_files import named
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import Case, RequirementNotMetError, UsageError

if TYPE_CHECKING:
    from editcore.editing.measurement import Measured, Measurement
    from editcore.editing.prepared import EditOptions
    from editcore.facade import Session
    from editcore.patches.file.patch import Patch

TOGETHER = 32
"""Edits that are computed at once when each gets a file of its own; what is written survives an interruption."""
SHOWN = 5
"""Edits that did not take which are shown one by one."""


class Writer:
    """Computes and measures patches, and writes those that do what was required."""

    def __init__(
        self,
        out: Output,
        session: "Session",
        options: "EditOptions",
        requirements: Sequence[Any],
        names: Mapping[str, str | None],
        redact: bool,
        overwrite: bool,
        allow_failed: bool,
        model: str,
    ) -> None:
        self.out, self.session, self.options, self.model = out, session, options, model
        self.requirements, self.names, self.redact = requirements, names, redact
        self.overwrite, self.allow_failed = overwrite, allow_failed
        self.rows: list[dict[str, Any]] = []
        self._asked = self._kept = 0
        self._unwritten: list[Path] = []
        self._said: dict[str, str] = {}
        """Prompt and target of each request by its id."""

    def write(self, path: Path, cases: Sequence[Case]) -> None:
        self._take(cases)
        patch = self.session.edit_all([case.request for case in cases], self.options, measured=False)
        self._write(path, patch, cases)
        self._warn_if_allowed()

    def write_folder(self, folder: Path, cases: Sequence[Case]) -> None:
        """Write one patch a request, each computed from the present model; keep patches that exist already."""
        from editcore.editing.naming import file_name, is_patch_of

        self._take(cases)
        missing: list[tuple[Path, Case]] = []
        for case in cases:
            path = folder / file_name(case.request.id)
            if not path.exists() or self.overwrite:
                missing.append((path, case))
            elif is_patch_of(path, case.request, self.session.weights_root):
                self._kept += 1
                self.out.say(f"{path} exists already")
            else:
                raise UsageError(f"{path} exists already, for another request", hint="pass --overwrite")
        with self.session.progress("edits", len(missing)) as progress:
            for start in range(0, len(missing), TOGETHER):
                some = missing[start : start + TOGETHER]
                if len(some) > 1:
                    self.out.say(f"edits {start + 1} to {start + len(some)} of {len(missing)}, computed together")
                requests = [case.request for _, case in some]
                patches = self.session.edit_each(requests, self.options, measured=False)
                for (path, case), patch in zip(some, patches, strict=True):
                    self._write(path, patch, [case])
                progress.advance(len(some))  # one by one they would seem fast: the time went into the group
        self._warn_if_allowed()

    def _take(self, cases: Sequence[Case]) -> None:
        """Count the cases, and say each as a person knows it; of several also by the id that the file gives it."""
        self._asked = len(cases)
        for case in cases:
            request = case.request
            also = f" ({request.id})" if len(cases) > 1 else ""
            self._said[request.id] = f"{request.rendered().text} … {request.target_new.strip()}{also}"

    def require_taken(self) -> None:
        """Raise `RequirementNotMetError` where a patch was not written because its edit did not take."""
        if not self._unwritten:
            return
        kept = f"{self._unwritten[0]} was" if len(self._unwritten) == 1 else f"{len(self._unwritten)} patches were"
        raise RequirementNotMetError(
            f"{kept} not written: {self._count(self._failed())}",
            hint=" or ".join((*self._ways_out(), "write such patches with --allow-failed")),
        )

    def _write(self, path: Path, patch: "Patch", cases: Sequence[Case]) -> None:
        from editcore.editing.measurement import measure
        from editcore.evaluation.reports.requirements import check

        metrics = list(dict.fromkeys(requirement.metric for requirement in self.requirements))
        measured = measure(self.session, patch, cases, metrics, answers=SHOWN)
        self._report(measured, cases)
        check(self.requirements, measured.reports)
        if not self.allow_failed and not all(measurement.took for measurement in measured.measurements):
            self.rows.append(_row(None, measured))
            self._unwritten.append(path)
            return
        sealed = named(measured.patch.redact() if self.redact else measured.patch, **self.names)
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed.save(path)
        self.rows.append(_row(path, measured))
        if not self.out.as_json:
            self.out.print(f"{path}  {short(patch.patch_id)}")

    def _report(self, measured: "Measured", cases: Sequence[Case]) -> None:
        for measurement, case in zip(measured.measurements, cases, strict=True):
            target = case.request.target_new.strip()
            prompt = case.request.rendered().text
            self.out.say(f"{prompt} … {target}: p(target) {measurement.before:.3g} -> {measurement.after:.3g}")
            if measurement.held:
                self.out.say(f"the model answered {target!r} before this edit too")
        failed = [measurement for measurement in measured.measurements if not measurement.took]
        for measurement in failed[:SHOWN]:
            self.out.warn(f"{self._said[measurement.request]} did not take: {_lack(measurement)}")
        for report in measured.reports:
            self.out.say(f"{report.metric} {report.value:.3g} (n = {report.n})")

    def _failed(self) -> list[str]:
        return [request for row in self.rows for request in _failed(row)]

    def _count(self, failed: Sequence[str]) -> str:
        """How many of all requests did not take, those whose patches were there before included."""
        there = f" ({self._kept} exist already)" if self._kept else ""
        facts = _some([self._said[request] for request in failed])
        return f"{len(failed)} of {self._asked} edits did not take{there}: {facts}"

    def _warn_if_allowed(self) -> None:
        if self.allow_failed and (failed := self._failed()):
            self.out.warn("; ".join((self._count(failed), *self._ways_out())))

    def _ways_out(self) -> tuple[str, ...]:
        """What else to edit with: a search finds nothing better for settings that were given by hand."""
        if given := [name for name, values in self.options.hparams if values]:
            return (f"leave out your settings ({', '.join(given)})",)
        return (f"find better settings with `{self._tune()}`",) if self._tunable() else ()

    def _tune(self) -> str:
        return f"editcore tune {quoted(self.model)} --method {self.options.method}"

    def _tunable(self) -> bool:
        return self.session.registry.method(self.options.method).tunable(self.session.traits()) is not None


def _lack(measurement: "Measurement") -> str:
    """The part of the target that is there, the part that is missing, and the model's answer."""
    there = f"{measurement.there!r} is there, but " if measurement.there else ""
    says = "" if measurement.answer is None else f"; the model says {measurement.answer.strip()!r}"
    return f"{there}{measurement.missing!r} is missing (p(target) {measurement.after:.3g}){says}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _failed(row: Mapping[str, Any]) -> list[str]:
    pairs = zip(row["requests"], row["p_target"], strict=True)
    return [request for request, figures in pairs if not figures["took"]]


def _row(path: Path | None, measured: "Measured") -> dict[str, Any]:
    """The JSON of a patch; `path` is null if it was not written."""
    patch = measured.patch
    figures: list[dict[str, Any]] = []
    for measurement in measured.measurements:
        lack = (
            {}
            if measurement.took
            else {"there": measurement.there, "missing": measurement.missing, "answer": measurement.answer}
        )
        figures.append({"before": measurement.before, "after": measurement.after, "took": measurement.took, **lack})
    return {
        "path": None if path is None else str(path),
        "id": patch.patch_id,
        "requests": [measurement.request for measurement in measured.measurements],
        "p_target": figures,
        "metrics": {report.metric: report.value for report in measured.reports},
    }
