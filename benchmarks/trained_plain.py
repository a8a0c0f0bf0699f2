"""A training step of MEND as published code runs it, written plainly: for `benchmarks.trained` to compare with."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from editcore.authoring.models import Item
from editcore_hooks import Case, Site
from editcore_mend.learner import MendLearner


def plain_step(learner: MendLearner, cases: Sequence[Case], rng: random.Random) -> Mapping[str, float]:
    """The mean losses over `cases`, their gradients in the nets, one edit after another."""
    rng.choice(learner.hparams.together)  # as the learner draws, so that both have the same texts
    episode = learner.reader.episode(cases, rng, learner.hparams.local)
    totals = {"edit loss": 0.0, "locality loss": 0.0}
    h = learner.hparams
    for e, item in enumerate(episode.edits):
        changed = _changed(learner, item)
        outer = [one for one, owner in zip(episode.outer, episode.outer_of, strict=True) if owner == e]
        local = [one for one, owner in zip(episode.local, episode.local_of, strict=True) if owner == e]
        edit = torch.stack([_nll(learner, one, changed) for one in outer]).sum() / len(episode.outer)
        kept = torch.stack([_kl(learner, one, changed) for one in local]).sum() / len(episode.local)
        (h.c_edit * edit + h.c_loc * kept).backward()
        totals["edit loss"] += float(edit.detach())
        totals["locality loss"] += float(kept.detach())
    return totals


def _changed(learner: MendLearner, item: Item) -> dict[str, Tensor]:
    """W + ΔW of each site, dense, by the parameter's name; u and δ by hooks, with gradients of all weights."""
    anatomy = learner.session.anatomy
    seen: dict[Site, tuple[Tensor, Tensor]] = {}
    handles = [anatomy.module(site).register_forward_hook(_keeping(seen, site)) for site in learner.sites]
    parameters = {anatomy.parameter(site)[0]: anatomy.parameter(site)[1] for site in learner.sites}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    try:
        _nll(learner, item, {}).backward()
    finally:
        for handle in handles:
            handle.remove()
        for parameter in parameters.values():
            parameter.grad = None
            parameter.requires_grad_(False)
    found = {}
    for site, (x, y) in seen.items():
        name, parameter, transposed = anatomy.parameter(site)
        u, delta = x[0].detach(), y.grad[0]
        kept = (u != 0).any(-1) & (delta != 0).any(-1)
        out, in_ = learner.editors(site, u[kept], delta[kept], torch.ones(int(kept.sum()), dtype=torch.bool))
        change = out.T @ in_  # (d_out, d_in)
        found[name] = parameter + (change.T if transposed else change)
    return found


def _keeping(seen: dict[Site, tuple[Tensor, Tensor]], site: Site) -> Any:
    def hook(_: Any, args: tuple[Tensor, ...], y: Tensor) -> None:
        y.retain_grad()
        seen[site] = (args[0], y)

    return hook


def _logits(learner: MendLearner, item: Item, changed: Mapping[str, Tensor]) -> Tensor:
    ids = torch.tensor([[*item[0], *item[1]][:-1]])
    output: Any = functional_call(learner.session.model, dict(changed), (), {"input_ids": ids, "use_cache": False})
    return output.logits[0, len(item[0]) - 1 :]  # type: ignore[no-any-return]


def _nll(learner: MendLearner, item: Item, changed: Mapping[str, Tensor]) -> Tensor:
    return cross_entropy(_logits(learner, item, changed), torch.tensor(item[1]))


def _kl(learner: MendLearner, item: Item, changed: Mapping[str, Tensor]) -> Tensor:
    with torch.no_grad():
        before = _logits(learner, item, {}).log_softmax(-1)
    after = _logits(learner, item, changed).log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).mean()
