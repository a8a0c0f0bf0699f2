"""`editcore diff`: what differs between two patches, two models, or a patch and a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.early import require_chat_template
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.editing.answer_diff import AnswerDifference
    from editcore.patches.compare.diff import DeltaFigures, Difference, TensorDifference
    from editcore.patches.compare.diff_bits import BitFigures
    from editcore_hooks import Case

DIFFERENT = 7
_WIDTH = 48


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--model", metavar="DIR", help="Base of the patches, for relative norms and for --cases.")
@click.option(
    "--cases", metavar="FILE", help="Also compare answers to these cases (JSON lines, as for `edit --requests`)."
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=8, show_default=True, help="Length of an answer.")
@model_options
@with_output
def diff(out: Output, a: str, b: str, model: str | None, cases: str | None, max_new_tokens: int, **options: Any) -> int:
    """Compare A and B: manifest, tensors and, with --cases, answers. Each is a patch file, a model (a folder or a hub
    id) or an exported stack, which counts as the sum of its patches.

    Exits with 7 if they differ and with 0 if they do not. Patches are compared by their factors; a model is
    loaded only for --cases.
    """
    from editcore.patches.compare.diff import diff as compare

    asked = _asked((a, b, *([model] if model else [])), cases, options["revision"]) if cases else None
    found = compare(a, b, model)
    changed = _answers(out, a, b, model, asked, max_new_tokens, options) if asked is not None else None
    if out.as_json:
        _print_json(out, found, changed)
    else:
        _print(out, found, changed)
        if not found and not changed:
            out.print("no difference")
    return DIFFERENT if found or changed else 0


def _asked(sides: Sequence[str], cases: str, revision: str | None) -> "list[Case]":
    """The cases; those that ask for a chat are refused before anything is compared, where a model has none."""
    from editcore.cli.requests import read_file

    asked = read_file(cases)
    for side in sides:
        if not Path(side).is_file():
            require_chat_template(side, revision, asked)
    return asked


def _answers(
    out: Output,
    a: str,
    b: str,
    model: str | None,
    asked: "list[Case]",
    max_new_tokens: int,
    options: dict[str, Any],
) -> "list[AnswerDifference]":
    from editcore.editing.answer_diff import answer_differences, answers
    from editcore.patches.exchange.stack_export import read_export
    from editcore.patches.file.patch import Patch

    said = []
    for side in (a, b):
        path = Path(side)
        if not path.is_file():
            said.append(answers(open_session(out, side, **options), asked, max_new_tokens))
            continue
        if model is None:
            raise UsageError(
                f"{side} is not a model, and only a model gives answers", hint="name its base with --model DIR"
            )
        patches = read_export(path).load() if path.suffix == ".json" else [Patch.load(path)]
        session = open_session(out, model, **options)
        with session.patched(*patches):
            said.append(answers(session, asked, max_new_tokens))
    return answer_differences(asked, *said)


def _print_json(out: Output, found: "Difference", changed: "list[AnswerDifference] | None") -> None:
    import attrs

    data = attrs.asdict(found)
    if changed is not None:
        data["answers"] = [attrs.asdict(each) for each in changed]
    out.json(data)


def _print(out: Output, found: "Difference", changed: "list[AnswerDifference] | None") -> None:
    if found.manifest:
        out.table(["field", "a", "b"], [[row.field, _cut(row.a), _cut(row.b)] for row in found.manifest])
    if found.tensors:
        out.print()
        heading = ["tensor", "", "norm a", "norm b", "distance", "cosine", "rank a", "rank b", "angles left", "right"]
        cells = [_cells(row) for row in found.tensors]
        if any(row.bits is not None for row in found.tensors):
            heading.append("other bits")
            cells = [[*some, _bits(row.bits)] for some, row in zip(cells, found.tensors, strict=True)]
        out.table(heading, cells)
    if changed:
        out.print()
        out.table(["case", "about", "prompt", "a", "b"], [[c.case, c.about, c.prompt, c.a, c.b] for c in changed])


def _cells(row: "TensorDifference") -> list[str]:
    status = f"{row.status}, against a" if row.base == "a" else row.status
    return [
        row.tensor,
        status,
        _norm(row.a),
        _norm(row.b),
        _number(row.distance),
        _number(row.cosine),
        _rank(row.a),
        _rank(row.b),
        _range(row.left_angles),
        _range(row.right_angles),
    ]


def _norm(figures: "DeltaFigures | None") -> str:
    if figures is None:
        return ""
    relative = "" if figures.relative_norm is None else f" ({figures.relative_norm:.2%})"
    return f"{figures.norm:.4g}{relative}"


def _rank(figures: "DeltaFigures | None") -> str:
    if figures is None:
        return ""
    return "> 64" if figures.effective_rank is None else str(figures.effective_rank)


def _range(angles: Sequence[float]) -> str:
    """Smallest and largest angle."""
    if not angles:
        return ""
    return f"{angles[0]:.1f}°" if len(angles) == 1 else f"{angles[0]:.1f}°–{angles[-1]:.1f}°"


def _bits(figures: "BitFigures | None") -> str:
    """Shares of elements: those that each side sets differently from the base, and those in which the sides differ."""
    if figures is None:
        return ""
    named = (("a", figures.a), ("b", figures.b), ("a from b", figures.between))
    told = [f"{name} {share:.2%}" for name, share in named if share is not None]
    return ", ".join(told) or "name the base with --model"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _cut(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
