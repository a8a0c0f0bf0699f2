"""Which metric catches which wrong editor, over facts of the demo model: the metrics themselves are under test.

A metric catches an editor if its figure is worse than the right editor's, over the same cases, and the paired 95 %
interval leaves out zero. A metric that calls no side good catches what it tells apart.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from checks.wrong_editors import WRONG, Editors, Right
from editcore import Session
from editcore.cases.reading import parse_case
from editcore.editing.prepared import EditOptions
from editcore.evaluation.engine.dialogue import NothingAskedError
from editcore.evaluation.engine.row_reports import summarise
from editcore.evaluation.reports.paired import PairedDifference, paired
from editcore.facade import open_model
from editcore.plugins.registry import Registry
from editcore_demo import cases, model_path, neutral_path
from editcore_hooks import Case, EditMethod, Report

CASES: Final = 16
METRICS: Final = (
    "tf.token@1",
    "tf.exact@1",
    "tf.exact.rephrase@1",
    "pref.es@1",
    "pref.ps@1",
    "pref.ns@1",
    "loc.agree@1",
    "loc.kl@1",
    "damage.ppl@1",
    "fluency.ngram@2",
    "gen.contains@2",
    "gen1.em@1",
    "gen1.contains@1",
    "gen1.old_contains@1",
    "gen1.strict@1",
    "gen1.stop@1",
    "gen1.over@1",
    "gen1.strict.rephrase@1",
    "gen1.loc.agree@1",
    "gen1.loc.near@1",
    "gen1.loc.correct@1",
)


@frozen
class Outcome:
    """A figure of an editor, and its difference from the right one's; `caught`: it is worse, beyond doubt."""

    value: float
    difference: PairedDifference
    caught: bool


Table = Mapping[str, Mapping[str, Outcome]]
"""By editor and metric."""


def run() -> list[str]:
    found = outcomes(CASES, METRICS)
    names = list(found)
    lines = [
        f"{CASES} facts of the demo model, each edited alone. A figure in bold is worse than that of the right editor,",
        "over the same cases, with a 95 % interval that leaves out zero; where no side is good, it differs.",
        "",
        f"| metric | right | {' | '.join(names[1:])} |",
        f"|---|{'---|' * len(names)}",
    ]
    for metric in METRICS:
        cells = [_cell(found[name][metric]) for name in names]
        lines.append(f"| `{metric}` | {' | '.join(cells)} |")
    lines += ["", *(f"- {editor.name}: {editor.summary}" for editor in (Right, *WRONG))]
    missed = [name for name in names[1:] if not any(one.caught for one in found[name].values())]
    return [*lines, "", f"Caught by no metric: {', '.join(missed)}." if missed else "Every wrong editor is caught."]


def outcomes(n: int, metrics: Sequence[str]) -> Table:
    """The figures of the right editor and of every wrong one over `n` facts of the demo model."""
    known = Registry.of(Editors())
    session = open_model(model_path(), registry_=known, neutral=neutral_path())
    chosen = [parse_case(row, "the demo's cases") for row in cases(n)]
    right = _values(session, chosen, Right, metrics)
    return {
        editor.name: {
            metric: _outcome(known, metric, right[metric], value)
            for metric, value in (right if editor is Right else _values(session, chosen, editor, metrics)).items()
        }
        for editor in (Right, *WRONG)
    }


def _values(
    session: Session, chosen: Sequence[Case], editor: type[EditMethod], metrics: Sequence[str]
) -> dict[str, dict[str, float]]:
    """By metric the value of each case."""
    options = EditOptions(method=editor.name, tune=False)
    patches = session.edit_each([case.request for case in chosen], options, measured=False)
    reports = session.evaluate_each(chosen, patches, metrics)
    return {report.metric: _by_case(session.registry, report) for report in reports}


def _by_case(known: Registry, report: Report) -> dict[str, float]:
    found = {}
    for case in dict.fromkeys(row["case"] for row in report.rows):
        try:
            found[case] = summarise(report.metric, [row for row in report.rows if row["case"] == case], known).value
        except NothingAskedError:
            continue
    return found


def _outcome(known: Registry, metric: str, right: Mapping[str, float], other: Mapping[str, float]) -> Outcome:
    cls = known.metric(metric)
    both = [case for case in right if case in other]
    difference = paired([right[case] for case in both], [other[case] for case in both], share=cls.share)
    worse = {
        "higher": difference.high < 0,
        "lower": difference.low > 0,
        "near 1": difference.low > 0,
        "neither": difference.told_apart,
    }
    return Outcome(sum(other[case] for case in both) / len(both), difference, worse[cls.better])


def _cell(one: Outcome) -> str:
    text = f"{one.value:.4g}"
    return f"**{text}**" if one.caught else text
