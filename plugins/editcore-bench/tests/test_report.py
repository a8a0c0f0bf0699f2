"""Figures, tables, CSV and the page of a run, as texts."""

import csv
import json
import re
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from editcore.cli import main
from editcore_bench.report.charts import MARKS, Bar, Curve, Point, bars, lines, mark
from editcore_bench.report.figures import CellFigures, cell_figures
from editcore_bench.report.page import page
from editcore_bench.report.table import as_csv, terminal
from editcore_bench.report.words import goodness
from editcore_bench.runs.folder import RunFolder


@pytest.fixture(scope="module")
def found(small_run: Path) -> list[CellFigures]:
    return cell_figures(RunFolder.open(small_run))


@pytest.fixture(scope="module")
def text(small_run: Path, found: list[CellFigures]) -> str:
    return page(RunFolder.open(small_run), found, 200)


def of(found: list[CellFigures], method: str, protocol: str) -> CellFigures:
    (one,) = (one for one in found if (one.cell.method.label, one.cell.protocol.label) == (method, protocol))
    return one


def test_a_figure_is_the_mean_over_cases_of_its_rows(small_run: Path, found: list[CellFigures]) -> None:
    one = of(found, "ft-m", "single")
    values = [
        row["value"] for row in RunFolder.open(small_run).rows(one.cell) if row["metric"] == "tf.exact@1"
    ]  # one row a case
    (figure,) = (figure for figure in one.figures if figure.metric == "tf.exact@1")
    assert figure.value == pytest.approx(sum(values) / 6)
    assert figure.n == 6
    assert figure.low <= figure.value <= figure.high


def test_a_score_made_of_others_is_made_anew_of_all_rows(found: list[CellFigures]) -> None:
    figures = {figure.metric: figure.value for figure in of(found, "ft-m", "batch 6").whole()}
    assert "pref.score@1" in figures


def test_a_curve_has_a_point_at_every_mark_and_a_table_the_last(found: list[CellFigures]) -> None:
    one = of(found, "ft-l", "sequential 6")
    for phase in ("immediate", "final"):
        assert [figure.edits for figure in one.curve("tf.exact@1", phase)] == [1, 3, 6]
    stretches = [(figure.since, figure.edits, figure.n) for figure in one.curve("tf.exact@1", "immediate")]
    assert stretches == [(0, 1, 1), (1, 3, 2), (3, 6, 3)]
    (whole,) = (f for f in one.whole() if (f.metric, f.phase) == ("tf.exact@1", "immediate"))
    assert whole.n == 6


def test_what_is_kept_is_counted_over_early_cases_that_were_right(small_run: Path, found: list[CellFigures]) -> None:
    one = of(found, "ft-m", "sequential 6")
    rows = [row for row in RunFolder.open(small_run).rows(one.cell) if row["metric"] == "tf.exact@1"]
    right = {row["case"] for row in rows if row["phase"] == "immediate" and row["edits"] <= 3 and row["value"] == 1}
    for figure in one.curve("tf.exact@1", "retained"):
        later = [r["value"] for r in rows if (r["phase"], r["edits"]) == ("final", figure.edits) and r["case"] in right]
        assert figure.value == pytest.approx(sum(later) / len(right))
        assert figure.n == len(right) > 0
    assert [figure.edits for figure in one.curve("tf.exact@1", "retained")] == [3, 6]
    assert one.curve("damage.ppl@1", "retained") == []


def test_the_summary_has_a_line_a_cell_and_moment(found: list[CellFigures]) -> None:
    columns, rows = terminal(found)
    assert columns[:3] == ["method", "protocol", "scored"]
    assert [row[2] for row in rows if row[:2] == ["ft-l", "sequential 6"]] == [
        "right after", "2 edits later", "all at the end", "kept of the first 3",
    ]  # fmt: skip


def test_every_figure_of_the_summary_says_its_interval_and_its_own_n(found: list[CellFigures]) -> None:
    columns, rows = terminal(found)
    cells = {row[2]: dict(zip(columns, row, strict=True)) for row in rows if row[:2] == ["ft-m", "sequential 6"]}
    last = cells["all at the end"]
    assert re.fullmatch(r"[\d.]+ \(\d+–\d+, n 6\)", last["tf.exact@1"])
    (texts,) = (f.n for f in of(found, "ft-m", "sequential 6").whole() if f.metric == "damage.ppl@1")
    assert last["damage.ppl@1"].endswith(f"n {texts})")
    assert texts != 6
    assert cells["2 edits later"]["tf.exact@1"].endswith("n 4)")


def test_best_is_what_has_a_good_side_and_a_ratio_nearest_to_one() -> None:
    assert goodness("damage.ppl@1", 1.05) > goodness("damage.ppl@1", 0.166)
    assert goodness("damage.ppl@1", 0.5) == pytest.approx(goodness("damage.ppl@1", 2.0))
    assert goodness("fluency.ngram@2", 500.0) is goodness("ppl_r@1", 1.0) is None
    assert goodness("loc.kl.other_task@1", 0.1) > goodness("loc.kl.other_task@1", 1.6)
    assert goodness("tf.exact@1", 1.0) > goodness("tf.exact@1", 0.5)


def test_the_csv_has_every_figure_and_starts_no_formula(found: list[CellFigures]) -> None:
    rows = list(csv.DictReader(StringIO(as_csv(found))))
    assert len(rows) == sum(len(one.figures) for one in found)
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in rows)
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_no_text_of_a_case_is_markup(text: str, hostile: str) -> None:
    assert hostile not in text
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "A <b>small</b> run" not in text
    assert "A &lt;b&gt;small&lt;/b&gt; run &amp; more" in text


def test_the_page_says_what_made_the_edits_and_where(text: str) -> None:
    run = text.partition('<section id="run">')[2]
    assert re.search(r"ft-m of editcore-ft [\d.]+: <code>.*layers \[1\].*steps 4", run, re.DOTALL)
    assert re.search(r"\d+ processors, \d+ threads", run)


def test_the_page_reaches_for_nothing(text: str) -> None:
    assert not re.search(r"(?:src|href)=[\"'](?!#)|url\(|@import|https?://", text)
    assert "default-src &#39;none&#39;" in text


def test_the_page_holds_the_texts_of_every_case(text: str, hostile: str) -> None:
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[0])
    assert len(data["cases"]) == 8 * 6
    prompts = {test["prompt"] for case in data["cases"] for test in case["tests"]}
    assert f"{hostile} The home of Ada Marlow is in" in prompts


def test_the_page_holds_no_more_cases_than_asked_for_and_says_so(small_run: Path, found: list[CellFigures]) -> None:
    short = page(RunFolder.open(small_run), found, 2)
    data = json.loads(re.findall(r'id="data">(.*?)</script>', short, re.DOTALL)[0])
    assert len(data["cases"]) == 8 * 2
    assert "the first 2 cases" in short


def test_a_chart_is_a_picture_with_a_name_and_escapes_its_texts() -> None:
    point = Point(1, 0.5, 0.25, 0.75, "<b> & ' says")
    for svg in (
        lines([Curve(0, False, (point,))], "a <b> chart", "edits", True),
        bars([Bar("<i>", 0, 2.0, "2 s")], "x"),
    ):
        assert 'role="img"' in svg
        assert "<b>" not in svg
        assert "<i>" not in svg


def test_every_series_has_a_mark_of_its_own() -> None:
    assert len({mark(kind, 0, 0) for kind in MARKS}) == len(MARKS) == 8  # as many as there are colours


def test_sizes_far_apart_stand_on_a_logarithmic_axis() -> None:
    points = tuple(Point(x, 0.5, 0.4, 0.6, "") for x in (1, 10, 100, 1000))
    svg = lines([Curve(0, False, points)], "", "edits", True)
    at = [float(x) for x in re.findall(r'circle class="mark" cx="([\d.]+)"', svg)]
    steps = [b - a for a, b in pairwise(at)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)


def test_report_writes_both_files(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html, table = tmp_path / "page.html", tmp_path / "figures.csv"
    assert main(["bench", "report", str(small_run), "--html", str(html), "--csv", str(table)]) == 0
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert table.stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "all at the end" in shown
    assert "in float32; in brackets the 95 % interval" in shown


def test_report_of_something_else_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "report", str(tmp_path)]) == 2
    assert "holds no benchmark run\nhint: make one with `editcore bench run SPEC`" in capsys.readouterr().err
