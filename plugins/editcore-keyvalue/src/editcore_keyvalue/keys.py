"""k: the input of the down projection at the subject's last token."""

from typing import Any

import torch
from torch import Tensor

from editcore.models.batch import forward
from editcore.models.tracing import Trace
from editcore_hooks import Site
from editcore_keyvalue.rows import EditRows, without_kl


def subject_keys(session: Any, rows: EditRows, site: Site) -> Tensor:
    """The key of every context row, (R, f) float32; the forward stops at the site."""
    rows = without_kl(rows)
    with torch.no_grad(), Trace(session.anatomy, inputs=[site], stop_after=site) as trace:
        forward(session.model, rows.batch)
    hidden = trace.inputs[site]  # (R, T, f)
    return hidden[torch.arange(rows.n_contexts, device=hidden.device), rows.subject].float()
