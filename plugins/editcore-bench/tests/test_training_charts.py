"""What methods note of their training: kept with each edit, and drawn as the mean with its spread."""

from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

from attrs import evolve, frozen

from editcore.authoring.patches import Patch
from editcore_bench.report.drawing import Legend
from editcore_bench.report.figures import CellFigures, cell_figures
from editcore_bench.report.markdown import markdown
from editcore_bench.report.page import page
from editcore_bench.report.training import learnt_charts, loss_charts
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.training import curves_of, learnt_of

LEARNT = {"tokens": [" Rome", " <b>"], "with": [0.75, 0.125], "without": [0.5, 0.25]}


@frozen
class Noted:
    notes: list[dict[str, Any]]

    def objects(self, name: str) -> list[dict[str, Any]]:
        return getattr(self, name, [])  # type: ignore[no-any-return]


def test_curves_and_what_was_learnt_are_read_from_the_notes_of_a_patch() -> None:
    patch = cast(
        "Patch", Noted([{"steps": 2}, {"curves": {"target": [1.0, 0.1234567]}, "distributions": [[{}, LEARNT]]}])
    )
    assert curves_of(patch) == {"target": [1.0, 0.12346]}
    assert learnt_of(patch) == LEARNT
    assert curves_of(cast("Patch", Noted([]))) == {}
    assert learnt_of(cast("Patch", Noted([{"distributions": [[]]}]))) is None


def taught(one: CellFigures) -> CellFigures:
    """The cell as if two of its edits had noted their losses, one for a step longer."""
    curves: list[Any] = [{"target": [3.0, 1.0]}, {"target": [1.0, 1.0, 9.0]}]
    edits = [{**edit, "curves": own} for edit, own in zip(one.record.edits, curves, strict=False)]
    return evolve(one, record=evolve(one.record, edits=tuple(edits), method={**one.record.method, "learnt": LEARNT}))


def test_the_mean_and_the_spread_over_edits_are_drawn_and_texts_are_escaped(small_run: Path) -> None:
    folder = RunFolder.open(small_run)
    cells = cell_figures(folder)
    assert list(loss_charts(cells, Legend.of(cells))) == list(learnt_charts(cells, Legend.of(cells))) == []
    found = [taught(cells[0]), *cells[1:]]
    legend = Legend.of(found)
    (curve,), (learnt,) = loss_charts(found, legend), learnt_charts(found, legend)
    assert curve.title == f"loss: target, {cells[0].cell.protocol.label}"
    name = cells[0].cell.method.label
    assert f"{name}, step 1: 2, n = 2" in curve.svg
    assert "step 3" not in curve.svg
    assert "75.0" in learnt.svg
    assert "&lt;b&gt;" in learnt.svg
    assert "<b>" not in learnt.svg
    assert learnt.svg in page(folder, found, 10)
    made = markdown(folder, found, "losses.svg")
    assert "](losses.svg)" in made.text
    assert made.picture is not None
    assert name in "".join(ElementTree.fromstring(made.picture).itertext())
    assert markdown(folder, cells, "losses.svg").picture is None
