"""The kept figures are those of the demo spec, and a comparison with them tells what changed."""

import csv
from pathlib import Path

from checks.killed_bench import KEPT, against


def test_figures_compare_by_value_and_interval(tmp_path: Path) -> None:
    with KEPT.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert against(KEPT, KEPT) == f"of {len(rows)} figures {len(rows)} equal"
    rows[0]["value"], rows[1]["value"] = rows[0]["low"], "-1.0"
    found = tmp_path / "figures.csv"
    with found.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:-1])
    left = len(rows) - 3
    assert (
        against(KEPT, found) == f"of {len(rows)} figures 1 DIFFERENT, {left} equal, 1 within the intervals, 1 MISSING"
    )
