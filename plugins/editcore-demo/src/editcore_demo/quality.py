"""`python -m editcore_demo.quality`: preference and exact scores over bundled facts, edited alone or many at once."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from editcore.authoring.evaluation import harmonic, parse_case, wilson
from editcore.authoring.settings import settings_mapping
from editcore.authoring.sources import settle
from editcore_demo import cases, model_path
from editcore_hooks import Case, Report

if TYPE_CHECKING:
    from editcore import EditOptions, Session

TOGETHER = 32
METRICS = ("pref.es@1", "pref.ps@1", "pref.ns@1")
EXACT = "tf.exact@1"


@frozen
class Quality:
    """Figures over edits, each patch scored alone and taken off again."""

    reports: tuple[Report, ...]
    cases: int
    seconds_per_edit: float


def quality(session: "Session", chosen: Sequence[Case], options: "EditOptions", at_once: int = 1) -> Quality:
    """Edit the cases from the base, `at_once` in one patch, score each on its patch, restore.

    A metric counts the cases that have prompts for it.
    """
    values: dict[str, list[float]] = {metric: [] for metric in (*METRICS, EXACT)}
    seconds = 0.0
    size = at_once if at_once > 1 else TOGETHER
    with session.progress("edits", len(chosen)) as progress:
        for start in range(0, len(chosen), size):
            some = chosen[start : start + size]
            requests = [case.request for case in some]
            started = time.perf_counter()
            if at_once > 1:
                groups = [(session.edit_all(requests, options, measured=False), some)]
            else:
                groups = [
                    (patch, [case])
                    for patch, case in zip(session.edit_each(requests, options, measured=False), some, strict=True)
                ]
            seconds += time.perf_counter() - started
            for patch, cases_of_patch in groups:
                with session.patched(patch):
                    for case in cases_of_patch:
                        for metric, value in _scores(session, case):
                            values[metric].append(value)
                        progress.advance()
    reports = [_report(metric, values[metric]) for metric in METRICS]
    exact = _report(EXACT, values[EXACT])
    return Quality((*reports, harmonic(reports), exact), len(chosen), seconds / len(chosen))


def _scores(session: "Session", case: Case) -> list[tuple[str, float]]:
    metrics = [METRICS[0], EXACT, *([METRICS[1]] if case.rephrases else [])]
    metrics += [METRICS[2]] if case.locality.get("neighbour") else []
    return [(report.metric, report.value) for report in session.evaluate([case], metrics)]


def _report(metric: str, values: Sequence[float]) -> Report:
    mean = sum(values) / len(values)
    return Report(metric, mean, len(values), *wilson(mean, len(values)), rows=tuple({"value": v} for v in values))


def main() -> None:
    settle()  # before torch is loaded
    from editcore import EditOptions
    from editcore import open as open_model
    from editcore.authoring.commands import Output

    parser = argparse.ArgumentParser(prog="python -m editcore_demo.quality", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="how many of the bundled cases")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--model", default=str(model_path()), help="folder of another model of the same world")
    parser.add_argument("--method", default="rome")
    parser.add_argument("--at-once", type=int, default=1, help="edits in one patch, for methods that take many")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyper-parameter")
    arguments = parser.parse_args()
    out = Output()
    session = open_model(arguments.model, talk=out)
    first, last = arguments.start, arguments.start + arguments.n
    # a model that the training script made has cases of its own: facts that it knows
    chosen = [parse_case(row, "the demo's cases") for row in cases(last, Path(arguments.model))[first:]]
    values = settings_mapping(session.registry.method(arguments.method).Hparams, arguments.set)
    found = quality(
        session, chosen, EditOptions(method=arguments.method, hparams=(("--set", values),)), arguments.at_once
    )
    out.table(
        ["metric", "value", "95 % interval", "cases"],
        [[r.metric, f"{r.value:.1%}", f"{r.low:.1%} to {r.high:.1%}", r.n] for r in found.reports],
    )
    kind = "single edits" if arguments.at_once == 1 else f"edits, {arguments.at_once} at once,"
    out.print(f"{found.cases} {kind} with {arguments.method}, {found.seconds_per_edit:.2f} s an edit")


if __name__ == "__main__":
    main()
