"""Effect of an early stop: seconds of an edit, and its quality beside that of all steps."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch

from editcore.cases.reading import parse_case
from editcore.editing.prepared import EditOptions
from editcore.evaluation.reports.intervals import normal
from editcore.facade import open_model
from editcore_demo import cases, model_path
from editcore_demo.quality import Quality, quality

METRICS: Final = ("pref.es@1", "pref.ps@1", "pref.ns@1", "tf.exact@1")
STOPS: Final = ("never", "loss", "argmax")


def print_stops(n: int, threads: int) -> None:
    """Each stop on the same facts, with intervals; what it costs is the mean of the paired differences."""
    torch.set_num_threads(threads)
    session = open_model(model_path())
    chosen = [parse_case(row, "the demo's cases") for row in cases(n)]
    session.edit_each(
        [case.request for case in chosen[:1]], EditOptions(), measured=False
    )  # collects the second moments
    print(
        f"\nAnother result, sooner: when to stop. {n} facts of the demo model, each edited alone with its preset and "
        "scored; values with their 95 % interval, below them the difference from all steps, paired by case, with its "
        "own.\n"
    )
    print("| stop | seconds an edit | ES | PS | NS | all target tokens argmax |\n|---|---|---|---|---|---|")
    every: dict[str, list[float]] = {}
    for stop in STOPS:
        made = quality(session, chosen, EditOptions(hparams=(("benchmark", {"v_stop": stop}),)))
        values = _values(made)
        reports = {report.metric: report for report in made.reports}
        shown = [f"{reports[m].value:.1%} ({reports[m].low:.1%} to {reports[m].high:.1%})" for m in METRICS]
        print(f"| {stop} | {made.seconds_per_edit:.2f} | {' | '.join(shown)} |", flush=True)
        if stop == STOPS[0]:
            every = values
            continue
        print(f"| {stop} − {STOPS[0]} | | {' | '.join(_differences(values, every))} |", flush=True)


def _values(made: Quality) -> dict[str, list[float]]:
    return {r.metric: [row["value"] for row in r.rows] for r in made.reports if r.metric in METRICS}


def _differences(values: Mapping[str, Sequence[float]], every: Mapping[str, Sequence[float]]) -> list[str]:
    found = []
    for metric in METRICS:
        apart = [a - b for a, b in zip(values[metric], every[metric], strict=True)]
        low, high = normal(apart)
        found.append(f"{100 * sum(apart) / len(apart):+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points")
    return found
