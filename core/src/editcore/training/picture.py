"""The learning curves as a picture: losses above, figures of held-out cases below, over the steps."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from editcore.storage import durable
from editcore.text.shell import quoted
from editcore_hooks import UsageError

ENDINGS: Final = (".png", ".svg")


def require_picture(name: str, *, overwrite: bool = False) -> Path:
    """Where to draw, checked before anything is trained. Raises `UsageError`."""
    path = Path(name)
    if path.suffix not in ENDINGS:
        raise UsageError(
            f"{name} ends neither in .png nor in .svg", hint=f"pass --picture {quoted(path.stem + '.png')}"
        )
    if path.exists() and not overwrite:
        raise UsageError(f"{name} exists", hint="choose another name, or pass --overwrite")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        message = "drawing needs matplotlib, which is not installed"
        raise UsageError(message, hint="pip install 'editcore[plot]'") from error
    return path


def draw(curve: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw a curve, as the asset holds it, into `path`: the same bytes each time."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    steps = [row["step"] for row in curve]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "editcore", "font.size": 8}):
        figure = Figure(figsize=(6.0, 5.0), layout="constrained")
        for axis, key in zip(figure.subplots(2, 1, sharex=True), ("losses", "figures"), strict=True):
            for name in dict.fromkeys(name for row in curve for name in row[key]):
                axis.plot(steps, [row[key].get(name) for row in curve], label=name, marker=".")
            axis.set_ylabel("mean of the steps before" if key == "losses" else "held-out cases")
            axis.legend(fontsize=7)
            axis.grid(alpha=0.3)
        axis.set_xlabel("step")
        figure.suptitle(title.replace("$", r"\$"), fontsize=9)
        drawn = BytesIO()
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(drawn, format=path.suffix.removeprefix("."), dpi=150, metadata=metadata)
    durable.write_atomically(path, [drawn.getvalue()])
