"""`python -m benchmarks.trained_quality --method mend`: a trained editor on cases that were held out of its training.

They are the demo's bundled ones. Single edits with all probes; then batches and sequences of growing size over the same
cases, with the first probe of each facet. The editor is found in the cache, as `editcore edit` finds it, or named with
`--editor`.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Final

from attrs import evolve

import editcore
import editcore_demo
from editcore import EditOptions
from editcore.authoring.commands import Output
from editcore.authoring.evaluation import normal, parse_case
from editcore_demo.split import training_cases
from editcore_hooks import Case, Report

METRICS: Final = ("tf.exact@1", "tf.exact.rephrase@1", "loc.agree@1")
SIZES: Final = (1, 3, 10, 30, 100)
FEW: Final = 10
NEWEST: Final = 10
"""Edits of a sequence that are also scored as the newest ones."""


def trimmed(case: Case) -> Case:
    """The case with the first probe of each facet."""
    return evolve(case, locality={facet: probes[:1] for facet, probes in case.locality.items()})


def trained_relations() -> set[str]:
    """The relations of which the training split has more than a handful of facts."""
    counts = Counter(relation(case["id"]) for case in training_cases())
    return {name for name, n in counts.items() if n > FEW}


def relation(case_id: str) -> str:
    return case_id.split("-")[1]


def row(label: str, reports: Sequence[Sequence[Report]], only: Callable[[str], bool] = lambda case: True) -> list[str]:
    """Means over the cases of all groups that `only` takes by their id, each with its 95 % interval and n."""
    cells = [label]
    for metric in METRICS:
        found = [one for group in reports for one in group if one.metric == metric]
        values = [value for one in found for value in of_cases(one, only)]
        mean = sum(values) / len(values)
        low, high = normal(values)
        cells.append(f"{100 * mean:.1f} ({100 * max(0.0, low):.1f} to {100 * min(1.0, high):.1f}), n {len(values)}")
    return cells


def of_cases(report: Report, only: Callable[[str], bool]) -> Iterable[float]:
    """One value a case: the mean of its rows."""
    cases: dict[str, list[float]] = {}
    for each in report.rows:
        if each["value"] is not None and only(str(each["case"])):
            cases.setdefault(str(each["case"]), []).append(float(each["value"]))
    return [sum(values) / len(values) for values in cases.values()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trained_quality", description=__doc__)
    parser.add_argument("--method", default="mend")
    parser.add_argument("--editor", default="")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--together", type=int, default=100, help="cases of batches and sequences")
    parser.add_argument("--parts", nargs="*", default=("single", "batch", "sequence"))
    arguments = parser.parse_args()
    out = Output()
    session = editcore.open(editcore_demo.model_path(), talk=out)
    cases = [parse_case(one, "the demo's cases") for one in editcore_demo.cases(max(arguments.n, arguments.together))]
    options = EditOptions(arguments.method, tune=False, hparams=(("--editor", {"editor": arguments.editor}),))
    rows = []
    if "single" in arguments.parts:
        chosen = cases[: arguments.n]
        patches = session.edit_each([case.request for case in chosen], options, measured=False)
        found, seen = [session.evaluate_each(chosen, patches, METRICS)], trained_relations()
        rows.append(row("single", found))
        rows.append(row("single, relations of the training", found, lambda case: relation(case) in seen))
        rows.append(row("single, other relations", found, lambda case: relation(case) not in seen))
    some = [trimmed(case) for case in cases[: arguments.together]]
    if "batch" in arguments.parts:
        for size in arguments.sizes:
            rows.append(row(f"batch of {size}", _batches(session, some, size, options)))
    if "sequence" in arguments.parts:
        rows += _sequence(session, some, arguments.sizes, options)
    out.table(["edits", *METRICS], rows)


def _batches(session: editcore.Session, cases: Sequence[Case], size: int, options: EditOptions) -> list[list[Report]]:
    reports = []
    for start in range(0, len(cases), size):
        group = cases[start : start + size]
        patch = session.edit_all([case.request for case in group], options, measured=False)
        with session.patched(patch):
            reports.append(session.evaluate(group, METRICS))
    return reports


def _sequence(
    session: editcore.Session, cases: Sequence[Case], sizes: Sequence[int], options: EditOptions
) -> list[list[str]]:
    rows = []
    with ExitStack() as entered:
        for i, case in enumerate(cases[: max(sizes)], start=1):
            entered.enter_context(session.patched(session.edit_all([case.request], options, measured=False)))
            if i in sizes:
                rows.append(row(f"after {i} in sequence, all", [session.evaluate(cases[:i], METRICS)]))
                if i > NEWEST:
                    newest = [session.evaluate(cases[i - NEWEST : i], METRICS)]
                    rows.append(row(f"after {i} in sequence, newest {NEWEST}", newest))
    return rows


if __name__ == "__main__":
    main()
