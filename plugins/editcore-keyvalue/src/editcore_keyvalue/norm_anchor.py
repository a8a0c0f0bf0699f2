"""NAS: new values get the length that values had before any edit (arXiv:2602.02543).

With v the output of the last layer's MLP at the subject's last token, δ the change found for it, and h what the value
is read from (the block's output, or v itself), the layers are asked for

    z = (h − v) + (v + δ) m / ‖v + δ‖

m is the mean of ‖v + δ‖ over edits of the model without patches, the longest 5 % left out. Along a sequence lengths
grow from edit to edit, which this stops. Where ‖v + δ‖ > 2 m the value was not found, and is not written.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.assets import Identity
from editcore.authoring.running import own_facts
from editcore_hooks import Asset, Site, UsageError
from editcore_keyvalue.collecting import OWNER
from editcore_keyvalue.fitting import fit_values
from editcore_keyvalue.hparams import SpreadHparams
from editcore_keyvalue.key_reader import KeyReader
from editcore_keyvalue.rows import EditRows, edit_rows
from editcore_keyvalue.value import ValueSettings

if TYPE_CHECKING:
    from editcore_hooks import Session

KIND: Final = "norm_anchor"
LONGEST: Final = 2.0
"""Of m: a longer value is not written."""
KEPT: Final = 0.95
"""Quantile of the lengths above which they do not count."""


@frozen
class Anchor:
    """m, and the asset that it is kept in; none where the settings name it."""

    length: float
    asset: Asset | None = None


def find_anchor(
    session: "Session",
    sites: Sequence[Site],
    contexts: Sequence[str],
    token: str,
    hparams: SpreadHparams,
    settings: ValueSettings,
) -> Anchor:
    """m for values at the last of `sites`: as set, from the store, or computed now and kept.

    Raises `UsageError` where the model states too few facts.
    """
    if hparams.norm_anchor_length is not None:
        return Anchor(hparams.norm_anchor_length)
    parameters = {
        "sites": [str(site) for site in sites],
        "edits": hparams.norm_anchor_edits,
        "seed": session.seed,
        "contexts": list(contexts),
        "tokenizer_sha256": session.tokenizer_sha256,
        "eos": hparams.eos,
        "settings": attrs.asdict(settings),
    }
    identity = Identity(KIND, OWNER, session.weights_root, parameters)
    found = session.assets.find(identity)
    if found is None:
        with session.assets.lock(identity), session.at_base():
            found = session.assets.find(identity) or session.assets.put(
                identity, {"lengths": _lengths(session, sites, contexts, token, hparams, settings)}
            )
    return Anchor(mean_length(session.assets.load(found)["lengths"]), found)


def mean_length(lengths: Tensor) -> float:
    """The mean of those up to the quantile."""
    return float(lengths[lengths <= lengths.quantile(KEPT)].mean())


def _lengths(
    session: "Session",
    sites: Sequence[Site],
    contexts: Sequence[str],
    token: str,
    hparams: SpreadHparams,
    settings: ValueSettings,
) -> Tensor:
    """‖v + δ‖ of edits of facts that the model states, (E,)."""
    try:
        cases = own_facts(cast(Any, session), hparams.norm_anchor_edits).cases
    except UsageError as error:
        raise UsageError(
            f"no length to rescale values to: {error.message}", hint="--set norm_anchor_length=M, or norm_anchor=false"
        ) from None
    rows = [edit_rows(session, case.request, contexts, token, eos=hparams.eos) for case in cases]
    values = fit_values(session, rows, sites, settings, f"values of {len(rows)} edits, for their length")
    delta = torch.stack([value.delta[-1] for value in values], 1)  # (d, E)
    lengths: Tensor = (mlp_outputs(session, rows, sites[-1]) + delta.double()).norm(dim=0)
    return lengths.float().cpu()


def mlp_outputs(session: "Session", rows: Sequence[EditRows], site: Site) -> Tensor:
    """v of each clean prompt on the current model, (d, E), float64: the MLP's output in the block of `site`."""
    return clean_outputs(session, rows, attrs.evolve(site, role="mlp_out"))


def clean_outputs(session: "Session", rows: Sequence[EditRows], site: Site) -> Tensor:
    """The output of `site` at the edited token of each clean prompt on the current model, (d, E), float64."""
    assert site.layer is not None
    reader = KeyReader.of_edits(session.anatomy, rows, 1)
    reader.keys(site.layer, {})
    return reader.outputs(site, {}).double()


@frozen(eq=False)
class Anchored:
    """z (d, E), the lengths of v + δ (E,), and which of the edits are written, (E,)."""

    target: Tensor
    lengths: Tensor
    written: Tensor


def anchored(session: "Session", rows: Sequence[EditRows], site: Site, h: Tensor, delta: Tensor, m: float) -> Anchored:
    """z for `h` and `delta` (d, E), float64, read at `site`."""
    v = mlp_outputs(session, rows, site)  # (d, E)
    new = v + delta
    lengths = new.norm(dim=0)  # (E,)
    return Anchored(h - v + new * (m / lengths.clamp(min=1e-30)), lengths, lengths <= LONGEST * m)


def anchor_notes(anchor: Anchor, found: Anchored) -> dict[str, Any]:
    """The anchor and the lengths that it replaced."""
    lengths = found.lengths.sort().values.tolist()
    return {"norm_anchor": {"length": anchor.length, "median": lengths[len(lengths) // 2], "largest": lengths[-1]}}
