"""Output of `editcore apply --dry-run`: targets, bytes, and tensors that patches share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from editcore.cli.output import Output
from editcore.text.ids import short
from editcore.text.visible import one_line

if TYPE_CHECKING:
    from editcore.patches.change.conflicts import Conflict
    from editcore.patches.change.plan import Plan
    from editcore.patches.file.patch import Patch

FLOP_PER_BYTE: Final = 4
"""A core multiplies 50 GFLOP/s or so in float64 and a disk writes 1 to 2 GB/s: at 4 it is a tenth of the time."""


def show_plan(out: Output, patches: "Sequence[Patch]", plan: "Plan", conflicts: "Sequence[Conflict]") -> None:
    """Print what would be written; of tensors that patches merely share, the number and the closest pair."""
    rows: list[dict[str, Any]] = [
        {
            "patch": patch.patch_id,
            "tensor": plan.verdicts[patch.patch_id].keys[key],
            "form": patch.targets[key].form.name,
            "norm": norms.get(key),  # bits that are exchanged have none
            "base_sha256": patch.targets[key].base_sha256,
            "verdict": plan.verdicts[patch.patch_id].kind,
        }
        for patch, norms in ((patch, patch.delta_norms()) for patch in patches)
        for key in patch.targets
    ]
    if out.as_json:
        figures = {"bytes_to_write": plan.bytes_to_write, "flop": plan.flop, "notices": list(plan.notices)}
        out.json({"targets": rows, "conflicts": conflicts_as_json(conflicts), **figures})
        return
    out.table(
        ["patch", "tensor", "form", "norm", "base sha256", "verdict"],
        [
            [short(r["patch"]), r["tensor"], r["form"], _norm(r["norm"]), short(r["base_sha256"]), r["verdict"]]
            for r in rows
        ],
    )
    for line in _lines(conflicts):
        out.print(one_line(line))
    out.say(f"{plan.bytes_to_write:,} bytes would be written")
    say_products(out, plan)
    for notice in plan.notices:
        out.warn(notice)


def say_products(out: Output, plan: "Plan") -> None:
    """Report the cost of the factors if it is not small beside the writing, as with a rank of hundreds."""
    if plan.flop > FLOP_PER_BYTE * plan.bytes_to_write:
        out.say(f"compute-bound: {plan.flop / 1e9:.3g} GFLOP of low-rank products in float64")


def conflicts_as_json(conflicts: "Sequence[Conflict]") -> list[dict[str, Any]]:
    """Every pair that meets, also where it only shares a tensor."""
    import attrs

    return [attrs.asdict(conflict) for conflict in conflicts]


def _lines(conflicts: "Sequence[Conflict]") -> list[str]:
    lines = [f"conflict: {conflict.message}" for conflict in conflicts if conflict.counts]
    shared = [conflict for conflict in conflicts if not conflict.counts]
    if shared:
        largest = max(shared, key=_closeness)
        pairs = "1 pair shares" if len(shared) == 1 else f"{len(shared)} pairs share"
        lines.append(f"{pairs} a tensor, which is not a conflict; the closest: {largest.message}")
    return lines


def _closeness(conflict: "Conflict") -> float:
    """By the cosine, or by the row and column spaces where those lie in each other."""
    return max(abs(figure or 0.0) for figure in (conflict.cosine, conflict.left, conflict.right))


def _norm(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
