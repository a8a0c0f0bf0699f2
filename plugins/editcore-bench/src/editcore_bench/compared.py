"""Two runs side by side: the same cases in both, the difference within each case, and how sure its mean is."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, Literal

from attrs import frozen

from editcore.authoring.evaluation import normal
from editcore_bench.report.figures import MOMENTS, summary
from editcore_bench.report.words import goodness
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.record import CellRecord
from editcore_bench.spec.values import Cell

Verdict = Literal["equal", "better", "worse", "not told apart"]
Row = Mapping[str, Any]
_LEAST: Final = 2
"""Cases below which a difference is no evidence of anything."""


@frozen
class Difference:
    """`mean` of B − A over the `n` cases that both scored, with its 95 % interval; `a` and `b` over the same cases."""

    cell: Cell
    phase: str
    metric: str
    a: float
    b: float
    mean: float
    low: float
    high: float
    n: int
    verdict: Verdict


@frozen
class Comparison:
    """`missing`: labels of cells of A that B lacks. `other_data`: datasets and models that differ under one name.
    `same_rows`: whether every cell has the same rows, to the last digit and letter."""

    differences: tuple[Difference, ...]
    missing: tuple[str, ...]
    other_data: tuple[str, ...]
    same_rows: bool

    @property
    def worse(self) -> list[Difference]:
        return [one for one in self.differences if one.verdict == "worse"]


def compare_runs(a: RunFolder, b: RunFolder, tolerance: float = 0.0) -> Comparison:
    """Pair the cells of two runs by what they are called, and their cases by id.

    Worse is a difference whose whole interval lies on the bad side of `tolerance`. A metric made of others is compared
    by these.
    """
    theirs = {record.cell.label: record for record in b.records()}
    differences: list[Difference] = []
    missing: list[str] = []
    same = True
    for record in a.records():
        other = theirs.get(record.cell.label)
        if other is None:
            missing.append(record.cell.label)
            continue
        if record.rows_sha256 != other.rows_sha256:
            same = False
        differences += _differences(a, record, b, other, tolerance)
    identities = a.manifest()["identity"], b.manifest()["identity"]
    names = [
        f"the {kind[:-1]} {name}"
        for kind in ("models", "datasets")
        for name, sha in identities[0][kind].items()
        if identities[1][kind].get(name, sha) != sha
    ]
    return Comparison(tuple(differences), tuple(missing), tuple(names), same and not missing)


def _differences(
    a: RunFolder, record: CellRecord, b: RunFolder, other: CellRecord, tolerance: float
) -> Iterator[Difference]:
    left, right = by_case(record.cell, a.rows(record.cell)), by_case(other.cell, b.rows(other.cell))
    for phase, metric in sorted(left, key=lambda key: list(MOMENTS).index(key[0])):
        both = [case for case in left[phase, metric] if case in right.get((phase, metric), {})]
        if both:
            values = [(left[phase, metric][case], right[phase, metric][case]) for case in both]
            yield _difference(record.cell, phase, metric, values, tolerance)


def _difference(
    cell: Cell, phase: str, metric: str, values: Sequence[tuple[float, float]], tolerance: float
) -> Difference:
    gaps = [y - x for x, y in values]
    low, high = normal(gaps)
    a, b = fmean(x for x, _ in values), fmean(y for _, y in values)
    return Difference(cell, phase, metric, a, b, fmean(gaps), low, high, len(gaps), verdict(metric, values, tolerance))


def verdict(metric: str, values: Sequence[tuple[float, float]], tolerance: float) -> Verdict:
    """By how much each case improved. A metric without a good side is only reported as different."""
    if all(x == y for x, y in values):
        return "equal"
    good = [(goodness(metric, x), goodness(metric, y)) for x, y in values]
    gains = [after - before for before, after in good if before is not None and after is not None]
    if len(gains) < _LEAST:
        return "not told apart"
    low, high = normal(gains)
    return "worse" if high < -tolerance else "better" if low > tolerance else "not told apart"


def by_case(cell: Cell, rows: Iterator[Row]) -> dict[tuple[str, str], dict[Any, float]]:
    """The value of each case, by moment and metric: of a sequence the last time that the case was scored so."""
    groups: dict[tuple[str, str], dict[Any, list[Row]]] = {}
    for row in rows:
        if "part" in row or (row["phase"] == "final" and row["edits"] != cell.protocol.size):
            continue
        groups.setdefault((row["phase"], row["metric"]), {}).setdefault(row["case"], []).append(row)
    found: dict[tuple[str, str], dict[Any, float]] = {}
    for key, cases in groups.items():
        reports = {case: summary(key[1], some) for case, some in cases.items()}
        found[key] = {case: report.value for case, report in reports.items() if report is not None}
    return found
