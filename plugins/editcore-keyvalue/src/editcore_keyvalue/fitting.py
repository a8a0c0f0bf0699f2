"""Values of many edits: batched by their tokens, in the given order, with one line of progress."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from editcore_hooks import Site
from editcore_keyvalue.hparams import KeyValueHparams
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.value import Value, ValueSettings, in_batches, optimise_values

if TYPE_CHECKING:
    from editcore_hooks import Session

UNCONVERGED: Final = 1.0
"""A loss at which the target is far from likely, in nats a token."""


def value_settings(hparams: KeyValueHparams) -> ValueSettings:
    return ValueSettings(
        steps=hparams.v_steps,
        lr=hparams.v_lr,
        pace=hparams.v_pace,
        weight_decay=hparams.v_weight_decay,
        kl=hparams.kl,
        clamp=hparams.clamp,
        stop=hparams.v_stop,
    )


def fit_values(
    session: "Session",
    edits: Sequence[EditRows],
    site: Site | Sequence[Site],
    settings: ValueSettings,
    label: str,
    snapshots: Collection[int] = (),
) -> list[Value]:
    """Keys and values of `edits`, in batches whose size is bounded by their tokens.

    Trials of one search share them: a setting of the closed form alone needs no values of its own.
    """
    known = session.recalled if session.recalled is not None and not snapshots else {}
    places = (site,) if isinstance(site, Site) else tuple(site)
    keys = [("value", edit, places, settings) for edit in edits]
    missing = [i for i, key in enumerate(keys) if key not in known]
    order = sorted(missing, key=lambda i: edits[i].tail)  # tails of one length leave nothing to pad
    batches = in_batches([edits[i] for i in order])
    values: list[Value] = []
    with session.progress(label, settings.steps * len(batches)) as progress:
        for batch in batches:
            values += optimise_values(session.anatomy, batch, site, settings, progress.advance, snapshots)
    known |= {keys[i]: value for i, value in zip(order, values, strict=True)}
    return [known[key] for key in keys]
