"""A gate: bounds on metrics from a YAML file, and the rows that stand on the wrong side of a missed one. Torch-free."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from editcore.evaluation.reports.requirements import Requirement, parse_requirement
from editcore.text.yaml_text import read_mapping
from editcore_hooks import Report, UsageError


@frozen
class Missed:
    """A bound that a report does not keep. `rows` are those that do not keep it either: all, where none stands out."""

    requirement: Requirement
    report: Report
    rows: tuple[Mapping[str, Any], ...]


def read_gate(path: Path) -> list[Requirement]:
    """`METRIC: ">= NUMBER"` a line, or a list of such bounds. Raises `UsageError` naming file and line's key."""
    requirements: list[Requirement] = []
    for metric, bounds in read_mapping(path).items():
        for bound in bounds if isinstance(bounds, list) else [bounds]:
            try:
                requirements.append(parse_requirement(f"{metric}{bound}"))
            except UsageError:
                message = f"{path.name}, {metric}: {bound!r} is not a bound"
                raise UsageError(message, hint='write it like pref.es@1: ">= 0.9"') from None
    if not requirements:
        raise UsageError(f"{path.name} holds no bound", hint='write lines like pref.es@1: ">= 0.9"')
    return requirements


def missed(requirements: Sequence[Requirement], reports: Sequence[Report]) -> list[Missed]:
    """The missed bounds, in the order of the gate."""
    by_metric = {report.metric: report for report in reports}
    found = []
    for requirement in requirements:
        report = by_metric[requirement.metric]
        if not requirement.met_by(report.value):
            counting = [row for row in report.rows if row["value"] is not None]
            failing = [row for row in counting if not requirement.met_by(row["value"])]
            found.append(Missed(requirement, report, tuple(failing or counting)))
    return found
