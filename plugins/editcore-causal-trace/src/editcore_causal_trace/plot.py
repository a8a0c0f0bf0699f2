"""The heat map of causal tracing as the paper draws it: tokens down, blocks across, one panel a kind."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore.authoring.files import write_atomically
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

    n, n_layers = next(iter(report.effects.values())).shape
    size = (1.4 + min(2.4 + 0.14 * n_layers, 8.2) * len(report.effects), 1.9 + 0.28 * n)
    # text stays text, so that a picture of names can be searched; a fixed salt and no date: the same bytes each time
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "editcore", "font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(report.effects), squeeze=False, sharey=True)[0]
        for axis, (kind, effects) in zip(axes, report.effects.items(), strict=True):
            low, high = _scale(report, kind)
            values = effects.numpy() + (low if report.absolute else 0.0)
            image = axis.imshow(values, cmap=COLOURS[kind], vmin=low, vmax=high, aspect="auto", interpolation="nearest")
            axis.set_title(TITLES[kind], fontsize=9)
            axis.tick_params(length=2)
            step = max(1, n_layers // 8)
            axis.set_xticks(range(0, n_layers, step), labels=[str(i) for i in range(0, n_layers, step)])
            axis.set_xlabel(f"centre of {report.window} blocks" if kind in ("mlp", "attn") else "block")
            figure.colorbar(image, ax=axis, pad=0.02)
        axes[0].set_yticks(range(n), labels=[_literal(row) for row in report.rows])
        figure.suptitle(_literal(_title(report, model)), fontsize=10)
        _write(figure, path)


def _scale(report: "Report", kind: "Kind") -> tuple[float, float]:
    """For one fact the panels are probabilities and share a scale; for averages each has its own, as in the paper."""
    if report.absolute:
        most = max(float(effects.max()) for effects in report.effects.values())
        return report.low, report.low + max(most, 1e-6)
    return 0.0, max(float(report.effects[kind].max()), 1e-6)


def _title(report: "Report", model: str) -> str:
    if report.answer is not None:
        return f"{model}: p({report.answer.strip()}) with the subject corrupted, but for what is restored"
    return f"{model}: how much of the probability of the answer returns, mean of {report.n} facts"


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
