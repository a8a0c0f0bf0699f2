"""One HTML file with all of a run: no network, no font, no script but its own. Every text in it is escaped."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from editcore_bench.report.browser import browser_data, for_script
from editcore_bench.report.charts import MARKS, mark
from editcore_bench.report.drawing import Legend, batch_charts, cost_charts, sequence_charts
from editcore_bench.report.figures import CellFigures, is_share
from editcore_bench.report.table import Line, dtypes_of, lines, metrics_of
from editcore_bench.report.training import learnt_charts, loss_charts
from editcore_bench.report.words import between_text, bytes_text, goodness, seconds_text, value_text
from editcore_bench.runs.folder import RunFolder
from editcore_bench.spec.values import TOGETHER

_HERE: Final = Path(__file__).parent


def page(folder: RunFolder, cells: Sequence[CellFigures], limit: int) -> str:
    """The page of a run; its browser holds at most `limit` cases of each cell."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    manifest = folder.manifest()
    metrics, legend = metrics_of(cells), Legend.of(cells)
    return environment.get_template("page.html.j2").render(
        style=style,
        script=script,
        policy=_policy(script),
        spec=manifest["identity"]["spec"],
        identity=manifest["identity"],
        where=manifest["where"],
        machines=_machines(cells),
        methods=_methods(cells),
        single=any(one.cell.protocol.kind == "single" for one in cells),
        together=TOGETHER,
        dtypes=dtypes_of(cells),
        asked=len(manifest["cells"]),
        cells=cells,
        legend=[
            {"name": name, "series": place % 8, "mark": mark(MARKS[place % len(MARKS)], 8, 8)}
            for place, name in enumerate(legend.names)
        ],
        sections=[_section(group, metrics, legend) for group in _groups(cells)],
        data=for_script(browser_data(folder, cells, limit)),
        limit=limit,
    )


def _policy(script: str) -> str:
    """Nothing is loaded, and no script runs but the page's own: a text that slipped through would still be a text."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    rules = ("default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _machines(cells: Sequence[CellFigures]) -> list[str]:
    """Those that ran cells, in words, each once."""
    found = []
    for one in cells:
        at = one.record.where
        threads = f", {at['threads']} threads" if "threads" in at else ""  # not kept by the first runs
        accelerator = f", {at['accelerator']}" if at["accelerator"] else ""
        found.append(f"{at['system']}, {at['processors']} processors{threads}{accelerator}")
    return list(dict.fromkeys(found))


def _methods(cells: Sequence[CellFigures]) -> list[dict[str, Any]]:
    """The origin of the patches: every setting once, with its protocols if they differ."""
    groups: dict[tuple[str, str], list[CellFigures]] = {}
    for one in cells:
        if one.record.method:
            groups.setdefault((one.cell.method.label, for_script(one.record.method)), []).append(one)
    labels = [label for label, _ in groups]
    return [
        {
            "label": label,
            "protocols": list(dict.fromkeys(one.cell.protocol.label for one in some))
            if labels.count(label) > 1
            else [],
            **some[0].record.method,
        }
        for (label, _), some in groups.items()
    ]


def _groups(cells: Sequence[CellFigures]) -> list[list[CellFigures]]:
    """Cells that can be set side by side: of one model and dataset."""
    groups: dict[tuple[str, str], list[CellFigures]] = {}
    for one in cells:
        groups.setdefault((one.cell.model, one.cell.dataset.label), []).append(one)
    return list(groups.values())


def _section(cells: Sequence[CellFigures], metrics: Sequence[str], legend: Legend) -> dict[str, Any]:
    asked = [metric for metric in metrics if any(figure.metric == metric for one in cells for figure in one.figures)]
    first = cells[0].cell
    return {
        "model": first.model,
        "dataset": first.dataset.label,
        "tables": _tables(cells, asked, legend),
        "metrics": asked,
        "batch": list(batch_charts(cells, asked, legend)),
        "sequence": list(sequence_charts(cells, asked, legend)),
        "training": [*loss_charts(cells, legend), *learnt_charts(cells, legend)],
        "cost": list(cost_charts(cells, legend)),
    }


def _tables(cells: Sequence[CellFigures], metrics: Sequence[str], legend: Legend) -> list[dict[str, Any]]:
    """One table a protocol and moment, so that the lines of a table can be compared."""
    tables: dict[tuple[str, str], list[Line]] = {}
    for line in lines(cells):
        tables.setdefault((line.cells.cell.protocol.label, line.moment), []).append(line)
    return [
        {
            "protocol": protocol,
            "moment": moment,
            "metrics": [metric for metric in metrics if any(metric in line.figures for line in some)],
            "rows": [_row(line, metrics, some, legend) for line in some],
        }
        for (protocol, moment), some in tables.items()
    ]


def _row(line: Line, metrics: Sequence[str], table: Sequence[Line], legend: Legend) -> dict[str, Any]:
    place = legend.place(line.cells.cell)
    return {
        "name": legend.names[place],
        "series": place % 8,
        "seconds": line.seconds_per_edit,
        "seconds_text": seconds_text(line.seconds_per_edit),
        "bytes": line.cells.record.cost["peak_bytes"],
        "bytes_text": bytes_text(line.cells.record.cost["peak_bytes"]),
        "values": {metric: _value(line, metric, table) for metric in metrics if metric in line.figures},
    }


def _value(line: Line, metric: str, table: Sequence[Line]) -> dict[str, Any]:
    figure = line.figures[metric]
    others = [goodness(metric, other.figures[metric].value) for other in table if metric in other.figures]
    return {
        "value": figure.value,
        "text": value_text(metric, figure.value),
        "between": between_text(figure),
        "best": _is_best(goodness(metric, figure.value), others),
        "share": is_share(metric),
        "left": 100 * figure.low,
        "width": 100 * (figure.high - figure.low),
        "at": 100 * figure.value,
    }


def _is_best(good: float | None, others: Sequence[float | None]) -> bool:
    known = [other for other in others if other is not None]
    return good is not None and len(set(known)) > 1 and good == max(known)
