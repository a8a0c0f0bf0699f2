"""Values of many edits: batched by their tokens, in the order asked for, with one line of progress."""

from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from editcore_hooks import Site
from editcore_keyvalue.hparams import KeyValueHparams
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.value import Value, ValueSettings, in_batches, optimise_values

if TYPE_CHECKING:
    from editcore import Session

UNDONE: Final = 1.0
"""A loss at which the target is far from likely, in nats a token."""


def value_settings(hparams: KeyValueHparams) -> ValueSettings:
    return ValueSettings(
        hparams.v_steps, hparams.v_lr, hparams.v_weight_decay, hparams.kl, hparams.clamp, hparams.v_stop
    )


def fit_values(
    session: "Session",
    edits: Sequence[EditRows],
    site: Site | Sequence[Site],
    settings: ValueSettings,
    label: str,
    snapshots: Collection[int] = (),
) -> list[Value]:
    """Keys and values of `edits`, in batches whose size is bounded by their tokens."""
    order = sorted(range(len(edits)), key=lambda i: edits[i].tail)  # tails of one length leave nothing to pad
    batches = in_batches([edits[i] for i in order])
    values: list[Value] = []
    with session.progress(label, settings.steps * len(batches)) as progress:
        for batch in batches:
            values += optimise_values(session.anatomy, batch, site, settings, progress.advance, snapshots)
    return [value for _, value in sorted(zip(order, values, strict=True), key=itemgetter(0))]
