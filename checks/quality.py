"""Preference scores over 200 demo facts, each edited alone with the preset of the plugin."""

from editcore.editing.compute import Options
from editcore.editing.session import open_model
from editcore.evaluation.cases import parse_case
from editcore_demo import cases, model_path
from editcore_demo.quality import quality

WANTED = {"pref.es@1": 0.95, "pref.ps@1": 0.85, "pref.ns@1": 0.90}


def run() -> list[str]:
    session = open_model(model_path())
    found = quality(session, [parse_case(row, "the demo's cases") for row in cases(200)], Options(method="rome"))
    lines = ["| metric | value | 95 % interval | cases | wanted |", "|---|---|---|---|---|"]
    missed = [r.metric for r in found.reports if r.value < WANTED.get(r.metric, 0)]
    for report in found.reports:
        wanted = f">= {WANTED[report.metric]:.0%}" if report.metric in WANTED else ""
        interval = f"{report.low:.1%} to {report.high:.1%}"
        lines.append(f"| {report.metric} | {report.value:.1%} | {interval} | {report.n} | {wanted} |")
    said = f"{found.cases} single edits, {found.seconds_per_edit:.2f} s an edit."
    return [*lines, "", said, *([f"Not reached: {', '.join(missed)}."] if missed else [])]
