"""The page of a run as Markdown: both protocols in one cell, a picture that stands alone, paired differences."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from editcore.cli import main
from editcore_bench.report.pairs import differences
from editcore_bench.runs.folder import RunFolder

PAIRS = """
baselines: [unedited]
pairs:
  reliability: [tf.exact@1, gen1.strict@1]
  locality: [loc.agree@1, gen1.loc.agree@1]
methods:
"""


@pytest.fixture(scope="module")
def run(run_spec, write_spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pairs")
    spec = write_spec(
        place,
        ("\nmethods:\n", PAIRS),
        ("  - {name: ft-l, set: {steps: 4, layers: [1]}}\n", ""),
        ("  - batch: [2, 6]\n  - sequential: [1, 3, 6]\n    gap: 2\n", "  - batch: 6\n"),
        ("pref.score@1, pref.es@1, ", ""),
    )
    assert not run_spec(spec, place / "out").failed
    return place / "out"


def test_the_page_shows_each_property_twice_and_its_picture(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert main(["bench", "report", str(run), "--markdown", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "![Each property twice" in text
    assert "(page.svg)" in text
    alone = text.partition("\n## ")[2].partition("\n## ")[0]
    assert "| method | reliability | locality | damage.ppl@1 | an edit | peak memory |" in alone
    (unedited,) = re.findall(r"^\| unedited \| (.*) \|$", alone, re.MULTILINE)
    assert unedited.split(" | ")[:2] == ["0.0 / 0.0", "100.0 / 100.0"]
    assert unedited.split(" | ")[-2:] == ["", ""]
    picture = ElementTree.fromstring((tmp_path / "page.svg").read_text("utf-8"))
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"reliability", "locality", "unedited", "ft-m"} <= set(texts)


def test_differences_are_over_the_same_cases_and_name_both(run: Path) -> None:
    found = [one for one in differences(RunFolder.open(run), ["tf.exact@1"]) if one.phase == "batch"]
    (one,) = found
    assert (one.a, one.b, one.difference.n) == ("unedited", "ft-m", 6)
    rows = [row["value"] for row in RunFolder.open(run).rows(_cell(run, "ft-m")) if row["metric"] == "tf.exact@1"]
    assert one.difference.mean == pytest.approx(sum(rows) / 6)


def _cell(run: Path, method: str):
    return next(
        record.cell
        for record in RunFolder.open(run).records()
        if record.cell.method.label == method and record.cell.protocol.kind == "batch"
    )
