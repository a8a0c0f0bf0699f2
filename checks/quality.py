"""Scores over 200 demo facts, each edited alone with the preset of each method."""

from collections.abc import Mapping
from typing import Final

from editcore.cases.reading import parse_case
from editcore.editing.prepared import EditOptions
from editcore.facade import open_model
from editcore_demo import cases, model_path
from editcore_demo.quality import quality

WANTED: Final[Mapping[str, Mapping[str, float]]] = {
    "rome": {"pref.es@1": 0.95, "pref.ps@1": 0.85, "pref.ns@1": 0.90},
    "ft-m": {"pref.es@1": 0.99, "tf.exact@1": 0.99},
}


def run() -> list[str]:
    session = open_model(model_path())
    chosen = [parse_case(row, "the demo's cases") for row in cases(200)]
    lines: list[str] = []
    for method, wanted in WANTED.items():
        found = quality(session, chosen, EditOptions(method=method))
        lines += ["", f"| {method} | value | 95 % interval | cases | wanted |", "|---|---|---|---|---|"]
        for report in found.reports:
            least = f">= {wanted[report.metric]:.0%}" if report.metric in wanted else ""
            interval = f"{report.low:.1%} to {report.high:.1%}"
            lines.append(f"| {report.metric} | {report.value:.1%} | {interval} | {report.n} | {least} |")
        lines += ["", f"{found.cases} single edits, {found.seconds_per_edit:.2f} s an edit."]
        missed = [report.metric for report in found.reports if report.value < wanted.get(report.metric, 0)]
        lines += [f"Not reached: {', '.join(missed)}."] if missed else []
    return lines[1:]
