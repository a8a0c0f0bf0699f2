"""What a joint update reports: notes of its values, and the subjects that did not get what they were to get."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from editcore_keyvalue.fitting import UNCONVERGED
from editcore_keyvalue.spreading import FAR, Written
from editcore_keyvalue.subjects import Shared
from editcore_keyvalue.value import Value

if TYPE_CHECKING:
    from editcore_hooks import Session


def value_notes(values: Sequence[Value]) -> dict[str, Any]:
    losses = sorted(value.losses[-1] for value in values)
    return {
        "keys": len(values),
        "steps": sum(value.steps for value in values) / len(values),
        "loss": {"median": losses[len(losses) // 2], "worst": losses[-1]},
    }


def say_unconverged(session: "Session", shared: Sequence[Shared], values: Sequence[Value]) -> None:
    """Report the subjects whose value optimisation did not converge."""
    if unconverged := named(shared, [value.losses[-1] > UNCONVERGED for value in values]):
        session.say(f"value optimisation for {unconverged} did not converge (final loss above {UNCONVERGED})")


def say_again(session: "Session", shared: Sequence[Shared], written: Written) -> None:
    """Report the subjects whose key is that of an earlier edit: their new value replaces the old one."""
    if again := named(shared, written.again.tolist()):
        session.say(
            f"{again}: the key is that of an earlier edit; the new value replaces the old one. "
            "To keep both facts, take that patch off and edit the two together"
        )


def say_missing(session: "Session", shared: Sequence[Shared], written: Written, name: str) -> None:
    """Report values that are not reached: the most common silent failure of the family."""
    far = named(shared, (written.missing > FAR).tolist())
    if not far:
        return
    mean = float(written.missing.mean())
    text = f"{name} missed the new value of {far} by more than {FAR:.0%} of the way ({mean:.0%} on average)"
    if mean > FAR:
        text += f". What it spares weighs too much for {written.missing.numel()} edits, or their keys are too alike"
    session.say(text)


def named(shared: Sequence[Shared], chosen: Sequence[bool]) -> str:
    """The chosen subjects: three by name, then the number of others."""
    names = [each.requests[0].subject for each, one in zip(shared, chosen, strict=True) if one]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
