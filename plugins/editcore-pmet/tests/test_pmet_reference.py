"""A plain PMET written from the maths: two changes found by Adam over whole forwards, weights written layer by layer.

With the change of attention kept at zero and even shares it is MEMIT on the output of the MLP.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import Tensor

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running.batch import forward, pad
from editcore.models.running.tracing import Tap, Trace
from editcore.testing.tiny import tiny_model
from editcore_hooks import Location, Site, State, Update
from editcore_keyvalue.joint import joint_update, second_moment_system
from editcore_keyvalue.rows import TokenRow, edit_rows
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_pmet.hparams import PmetHparams
from editcore_pmet.method import compute

LAYERS = (0, 1)
LAST = LAYERS[-1]
LOCATION = Location(tuple(Site("mlp_out", layer) for layer in LAYERS))
ATTENTION, MLP = Site("attn_out", LAST), Site("mlp_out", LAST)
CONTEXTS = ("{}", "So it is. {}")
HPARAMS = PmetHparams(
    v_steps=5, v_lr=0.1, v_stop="never", clamp=0.75, context_templates=CONTEXTS, layers=LAYERS, mom2_weight=10.0,
    mom2_tokens=1500, mom2_ridge=1e-3,
)  # fmt: skip
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def adding(s: int, delta: Tensor) -> Tap:
    def add(output: Tensor) -> Tensor:
        return torch.cat([output[:, :s], output[:, s : s + 1] + delta, output[:, s + 1 :]], 1)

    return Tap(edit=add)


def logprobs(session: editcore.Session, row: TokenRow, deltas: Sequence[Tensor] | None) -> Tensor:
    """Of one row alone, from its first token to its last, (T, V)."""
    changes = {} if deltas is None else dict(zip((ATTENTION, MLP), (adding(row.s, d) for d in deltas), strict=True))
    with Trace(session.anatomy, changes):
        return forward(session.model, pad([row.ids]))[0].float().log_softmax(-1)


@torch.no_grad()
def seen(session: editcore.Session, row: TokenRow, site: Site) -> tuple[Tensor, Tensor]:
    """What goes into a site and comes out of it at the subject's last token."""
    with Trace(session.anatomy, {site: Tap(input=True, output=True)}) as trace:
        forward(session.model, pad([row.ids]))
    return trace.input(site)[0, row.s], trace.output(site)[0, row.s]


def plain_value(session: editcore.Session, request: EditRequest, frozen_attention: bool) -> Tensor:
    """z (d,) of the MLP."""
    rows = edit_rows(session, request, CONTEXTS, "subject_last")
    starts = [seen(session, rows.contexts[0], site)[1] for site in (ATTENTION, MLP)]
    before = logprobs(session, rows.kl, None)[rows.kl.s]
    deltas = [torch.zeros_like(start, requires_grad=True) for start in starts]
    free = [deltas[1]] if frozen_attention else deltas
    adam = torch.optim.Adam(free, lr=HPARAMS.v_lr)
    for step in range(HPARAMS.v_steps - 1):
        losses = []
        for row in rows.contexts:
            now = logprobs(session, row, deltas)
            losses.append(-torch.stack([now[i, token] for i, token in zip(row.scored, row.labels, strict=True)]).mean())
        now = logprobs(session, rows.kl, deltas)[rows.kl.s]
        loss = HPARAMS.nll * torch.stack(losses).mean() + HPARAMS.kl * (now.exp() * (now - before)).sum()
        if step:
            sizes = [d.norm() / start.norm() ** 2 for d, start in zip(deltas, starts, strict=True) if d in set(free)]
            loss = loss + HPARAMS.v_weight_decay * sum(sizes)
        for delta, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):
            delta.grad = gradient
        adam.step()
        with torch.no_grad():
            for delta, start in zip(deltas, starts, strict=True):
                delta *= min(1.0, float(HPARAMS.clamp * start.norm() / delta.norm().clamp(min=1e-12)))
    return (starts[1] + deltas[1]).detach()


@torch.no_grad()
def plain_updates(session: editcore.Session, z: Tensor, shares: Sequence[float]) -> dict[int, Tensor]:
    """Δ (d, f) of each layer for values z (d, n); the weights are left as they were."""
    moments = second_moments(session, LAYERS, MomentRequest.of(HPARAMS))
    all_rows = [edit_rows(session, request, CONTEXTS, "subject_last").contexts for request in REQUESTS]
    kept = {layer: session.anatomy.weight(Site("mlp_out", layer)).clone() for layer in LAYERS}
    deltas = {}
    for layer, share in zip(LAYERS, shares, strict=True):
        site = Site("mlp_out", layer)
        k = torch.stack([(seen(session, a, site)[0] + seen(session, b, site)[0]) / 2 for a, b in all_rows], 1).double()
        m = torch.stack([seen(session, rows[0], MLP)[1] for rows in all_rows], 1).double()
        c = moments[layer][0].mean.double()
        c += HPARAMS.mom2_ridge * c.diagonal().mean() * torch.eye(len(c), dtype=c.dtype)
        assert HPARAMS.mom2_weight is not None
        deltas[layer] = share * (z - m) @ torch.linalg.solve(HPARAMS.mom2_weight * c + k @ k.T, k).T
        session.anatomy.weight(site).add_(deltas[layer].float())
    for layer, weight in kept.items():
        session.anatomy.weight(Site("mlp_out", layer)).copy_(weight)
    return deltas


def assert_close(session: editcore.Session, update: Update, frozen_attention: bool, shares: Sequence[float]) -> None:
    z = torch.stack([plain_value(session, request, frozen_attention) for request in REQUESTS], 1).double()
    for layer, wanted in plain_updates(session, z, shares).items():
        found = update.tensors[Site("mlp_out", layer)]
        assert ((found.out @ found.in_).double() - wanted).norm() < 0.02 * wanted.norm(), layer


def test_the_updates_of_all_layers_agree(session: editcore.Session) -> None:
    assert_close(session, compute(session, REQUESTS, LOCATION, State(""), HPARAMS), False, (0.5**0.5, 1.0))


def test_with_attention_still_and_even_shares_it_is_memit_on_what_the_mlp_puts_out(session: editcore.Session) -> None:
    system, _, _ = second_moment_system(session, LAYERS, HPARAMS, 10.0, State(""))
    memit = joint_update(session, REQUESTS, LOCATION, HPARAMS, system, "MEMIT", sites=(MLP,))
    assert_close(session, memit, True, (0.5, 1.0))
    both = compute(session, REQUESTS, LOCATION, State(""), evolve(HPARAMS, spreading="linear"))
    assert_close(session, both, False, (0.5, 1.0))
