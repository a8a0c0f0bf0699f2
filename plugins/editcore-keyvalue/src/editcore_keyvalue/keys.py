"""k: the input of the down projection at the subject's last token."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editcore.models.batch import forward
from editcore.models.tracing import Tap, Trace
from editcore_hooks import Site
from editcore_keyvalue.rows import EditRows

if TYPE_CHECKING:
    from editcore import Session


def subject_keys(session: "Session", rows: EditRows, site: Site) -> Tensor:
    """The key of every context row, (R, f) float32; the forward stops at the site."""
    with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
        forward(session.model, rows.batch)
    hidden = trace.input(site)  # (R+1, T, f)
    every_row = torch.arange(len(rows.subject), device=hidden.device)
    return hidden[every_row, rows.subject][: rows.n_contexts].float()
