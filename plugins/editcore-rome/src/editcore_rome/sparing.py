"""The other tokens of an edited prompt, which the update must leave alone.

The value is found with a change at the subject's last token and nowhere else, but Λ uᵀ changes every token by Λ (uᵀk).
Where other tokens of the prompt have keys like the subject's, as in small models and early layers, the edited model is
not the one in which the value was found, and the edit fails although its loss is small. So their keys K_o (f, m) count
as ordinary keys with a weight of their own: u = (C + K_o K_oᵀ / ε)⁻¹ k*.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from editcore.authoring.models import Tap, Trace, encode_request, forward, pad, token_index
from editcore_hooks import EditRequest, Site
from editcore_keyvalue.cholesky import solve

if TYPE_CHECKING:
    from editcore_hooks import Session

SOFTNESS: Final = 0.1
"""ε relative to the mean diagonal of K_oᵀ C⁻¹ K_o. 1e-3 and 0.1 give the same outcomes, 1 worse ones; with 0 a token of
the subject that stands in the prompt twice would leave nothing of u."""


def other_keys(session: "Session", requests: Sequence[EditRequest], token: str, site: Site) -> list[Tensor]:
    """For each request the keys (m, f) at every token of prompt and target but the edited one."""
    encoded = [encode_request(session.tokenizer, request) for request in requests]
    batch = pad([one.ids[:-1] for one in encoded]).to(session.device)  # the last target token is only a label
    with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
        forward(session.model, batch)
    found = []
    for keys, one in zip(trace.input(site), encoded, strict=True):  # (T, f)
        edited, n = token_index(one, token), len(one.ids) - 1
        found.append(torch.cat([keys[:edited], keys[edited + 1 : n]]).double())
    return found


def spare(u: Tensor, others: Tensor, lower: Tensor) -> Tensor:
    """(C + K_o K_oᵀ / ε)⁻¹ k* by Woodbury, from u = C⁻¹ k* (f,), `others` K_oᵀ (m, f) and the Cholesky factor of C."""
    if not len(others):
        return u
    b = solve(lower, others.T)  # C⁻¹ K_o (f, m)
    g = others @ b  # K_oᵀ C⁻¹ K_o (m, m)
    epsilon = SOFTNESS * g.diagonal().mean()
    soft = g + epsilon * torch.eye(len(g), dtype=g.dtype, device=g.device)
    spared: Tensor = u - b @ torch.linalg.solve(soft, others @ u)
    return spared
