"""The heat map of causal tracing as the paper draws it: tokens down, blocks across, one panel a kind."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore.patches.durable import write_atomically
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore_causal_trace.report import Report
    from editcore_causal_trace.trace import Kind

TITLES: Final[Mapping["Kind", str]] = {
    "state": "restoring a hidden state",
    "mlp": "restoring MLP outputs",
    "attn": "restoring attention outputs",
    "state-no-mlp": "restoring a state, MLPs severed",
    "state-no-attn": "restoring a state, attention severed",
}
COLOURS: Final[Mapping["Kind", str]] = {
    "state": "Purples",
    "mlp": "Greens",
    "attn": "Reds",
    "state-no-mlp": "Greens",
    "state-no-attn": "Reds",
}


def require_matplotlib() -> None:
    """Raises `UsageError` with what to install."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        message = "drawing needs matplotlib, which is not installed"
        raise UsageError(message, hint="pip install 'editcore-causal-trace[plot]'") from error


def draw(report: "Report", model: str, path: Path) -> None:
    """Draw the report into `path`, whose ending says how: a .png or an .svg, written at once."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    low = report.low if report.absolute else 0.0
    high = max([float(effects.max()) for effects in report.effects.values()]) + low
    n, n_layers = next(iter(report.effects.values())).shape
    size = (min(3.2 + 0.14 * n_layers, 9) * len(report.effects), 1.9 + 0.28 * n)
    # text stays text, so that a picture of names can be searched; a fixed salt and no date: the same bytes each time
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "editcore"}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(report.effects), squeeze=False)[0]
        for axis, (kind, effects) in zip(axes, report.effects.items(), strict=True):
            values = effects.numpy() + low
            image = axis.imshow(
                values, cmap=COLOURS[kind], vmin=low, vmax=max(high, low + 1e-6), aspect="auto", interpolation="nearest"
            )
            axis.set_title(TITLES[kind], fontsize=9)
            axis.set_yticks(range(n), labels=[_literal(row) for row in report.rows], fontsize=8)
            step = max(1, n_layers // 8)
            axis.set_xticks(range(0, n_layers, step), labels=[str(i) for i in range(0, n_layers, step)], fontsize=8)
            axis.set_xlabel(_across(report, kind, _literal(model)), fontsize=8)
            label = f"p({_literal(report.answer.strip())})" if report.answer is not None else "indirect effect"
            figure.colorbar(image, ax=axis, label=label)
        figure.suptitle(
            "the answer after a corrupted subject" if report.absolute else f"average over {report.n} facts", fontsize=10
        )
        _write(figure, path)


def _across(report: "Report", kind: "Kind", model: str) -> str:
    if kind in ("mlp", "attn"):
        return f"centre of {report.window} restored blocks of {model}"
    return f"restored block of {model}"


def _literal(text: str) -> str:
    """A text of which matplotlib would otherwise read parts as formulae."""
    return text.replace("$", r"\$")


def _write(figure: Any, path: Path) -> None:
    suffix = path.suffix.removeprefix(".")
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    drawn = BytesIO()
    figure.savefig(drawn, format=suffix, dpi=150, metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [drawn.getvalue()])
