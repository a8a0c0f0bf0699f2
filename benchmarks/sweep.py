"""Every setting of ROME on every case: rows of a file, one a setting, each of the model whose weights it names."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from editcore import Session
from editcore.models.running.branches import Branches
from editcore.models.running.scoring import target_logprobs
from editcore.models.tokens.spans import encode_prompt
from editcore.plugins.hparams import from_mapping
from editcore_hooks import Case, Location, LowRank, Site
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.contexts import contexts_of
from editcore_keyvalue.ridge import ridge_of
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_rome.hparams import RomeHparams
from editcore_rome.method import fitted, spared_keys
from editcore_rome.rank_one import rank_one
from editcore_rome.space import space

CONTEXTS = 2
"""Sampled contexts of each length, in all settings of a sweep alike."""
TOGETHER = 200
UNHURRIED = MomentRequest(seconds=float("inf"))
"""Second moments over as many tokens on a slow machine as on a fast one."""
Score = dict[str, list[float | None]]
"""For each case the share of its prompts with the wanted outcome, by metric: es, ps, ns; None where it asks nothing."""
Settings = Mapping[str, Any]


def case_digest(chosen: Sequence[Case]) -> str:
    """The cases of a row's scores, in order."""
    return hashlib.sha256("\n".join(case.request.id for case in chosen).encode()).hexdigest()[:16]


def read_rows(session: Session, chosen: Sequence[Case], out: Path) -> list[dict[str, Any]]:
    """The rows of these weights and these cases; those of others are left alone."""
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []
    wanted = (session.weights_root, case_digest(chosen))
    return [row for row in rows if (row["root"], row["cases"]) == wanted]


def find_row(rows: Sequence[Mapping[str, Any]], settings: Settings, contexts: int = CONTEXTS) -> Any:
    return next((row for row in rows if row["settings"] == dict(settings) and row["contexts"] == contexts), None)


def in_space(session: Session) -> list[dict[str, Any]]:
    """The settings that `tune` chooses from on this model."""
    tried = space(session.traits())
    return [{**place, **recipe} for place in tried.places for recipe in tried.recipes]


def sweep(
    session: Session, chosen: Sequence[Case], out: Path, layers: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Every recipe at every layer, those included that are deeper than `tune` looks, or at `layers` alone."""
    rows = read_rows(session, chosen, out)
    layers = range(session.anatomy.n_layers) if layers is None else layers
    second_moments(session, layers, UNHURRIED)
    recipes = space(session.traits()).recipes
    for layer in layers:
        for some in trajectories(recipes).values():
            measured(session, chosen, out, rows, [{"layer": layer, **recipe} for recipe in some])
    return rows


def measured(
    session: Session,
    chosen: Sequence[Case],
    out: Path,
    rows: list[dict[str, Any]],
    settings: Sequence[Settings],
    contexts: int = CONTEXTS,
) -> list[Any]:
    """The rows of settings that differ in their steps alone: those there are, else run now and appended to file and
    `rows`."""
    if not all(find_row(rows, one, contexts) for one in settings):
        for one, scores in zip(settings, run(session, chosen, settings, contexts), strict=True):
            identity = {"root": session.weights_root, "cases": case_digest(chosen)}
            rows.append({**identity, "contexts": contexts, "settings": dict(one), "scores": scores})
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            session.say(f"{dict(one)}: {figures(scores)}")
    return [find_row(rows, one, contexts) for one in settings]


def trajectories(recipes: Iterable[Settings]) -> dict[str, list[Settings]]:
    """Recipes by all but their steps."""
    found: dict[str, list[Settings]] = {}
    for recipe in recipes:
        rest = {key: value for key, value in recipe.items() if key != "v_steps"}
        found.setdefault(json.dumps(rest, sort_keys=True), []).append(recipe)
    return found


def run(
    session: Session, chosen: Sequence[Case], settings: Sequence[Settings], contexts: int = CONTEXTS
) -> list[Score]:
    """The scores of settings that differ in their steps alone: one trajectory, looked at along its way."""
    longest = max(one["v_steps"] for one in settings)
    h = from_mapping(RomeHparams, {**settings[0], "v_steps": longest, "context_count": contexts})
    assert h.layer is not None
    site = Site("mlp_out", h.layer)
    moment, _ = second_moments(session, [h.layer], UNHURRIED)[h.layer]
    lower = session.cached(("sweep", h.layer), lambda: factor(moment.mean, ridge_of(moment, h.mom2_ridge)))
    before = contexts_of(session, h, [])
    scores: list[Score] = [{"es": [], "ps": [], "ns": []} for _ in settings]
    for start in range(0, len(chosen), TOGETHER):
        some = chosen[start : start + TOGETHER]
        steps = [one["v_steps"] for one in settings]
        requests, where = [case.request for case in some], Location((site,))
        values = fitted(session, requests, [before] * len(some), where, h, steps)
        others = spared_keys(session, requests, where, h)
        for number, t in enumerate(steps):
            updates: list[Mapping[Site, LowRank]] = []
            for value, beside in zip(values, others, strict=True):
                update = rank_one(value.keys, value.at[t], session.anatomy.weight(site), lower, h.key_mode, beside)
                updates.append({site: update.low_rank()})
            for name, outcomes in _preferences(session, some, updates).items():
                scores[number][name] += outcomes
    return scores


def _preferences(session: Session, some: Sequence[Case], updates: Sequence[Mapping[Site, LowRank]]) -> Score:
    asked = []
    for e, case in enumerate(some):
        request = case.request
        asked.append((e, "es", request.rendered().text, request.target_new, request.target_true))
        asked += [(e, "ps", text, request.target_new, request.target_true) for text in case.rephrases]
        asked += [(e, "ns", p.prompt, p.targets[0], request.target_new) for p in case.locality.get("neighbour", ())]
    items, owner = [], []
    for e, _, prompt, wanted, other in asked:
        for target in (wanted, other):
            encoded = encode_prompt(session.tokenizer, prompt, target)
            items.append((encoded.prompt_ids, encoded.target_ids))
            owner.append(e)
    branches, owners = Branches.of(session.anatomy, updates), torch.tensor(owner)
    found = target_logprobs(session.model, items, owners=owner, around=lambda batch: branches.on(owners[list(batch)]))
    outcomes: dict[str, list[list[float]]] = {kind: [[] for _ in some] for kind in ("es", "ps", "ns")}
    for i, (e, kind, *_) in enumerate(asked):
        outcomes[kind][e].append(float(found[2 * i].mean > found[2 * i + 1].mean))
    return {kind: [fmean(each) if each else None for each in of_cases] for kind, of_cases in outcomes.items()}


def means(scores: Mapping[str, Sequence[float | None]], sample: Sequence[int] | None = None) -> list[float]:
    """The mean of each metric over the cases of a sample, or all, that ask for it."""
    picked = [[v[i] for i in sample] if sample is not None else v for v in scores.values()]
    return [fmean(value for value in values if value is not None) for values in picked]


def harmonic(scores: Mapping[str, Sequence[float | None]], sample: Sequence[int] | None = None) -> float:
    parts = means(scores, sample)
    return 0.0 if min(parts) <= 0 else len(parts) / sum(1 / part for part in parts)


def interval(best: Score, other: Score, resamples: int = 2000) -> tuple[float, float]:
    """95 % of the difference of harmonic means, by resampling cases: what a case asks is drawn or left as a whole."""
    generator = torch.Generator().manual_seed(0)
    n = len(best["es"])
    differences = []
    for _ in range(resamples):
        sample = torch.randint(n, (n,), generator=generator).tolist()
        differences.append(harmonic(best, sample) - harmonic(other, sample))
    low, high = torch.tensor(differences).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def figures(scores: Mapping[str, Sequence[float | None]]) -> str:
    parts = " ".join(f"{name} {mean:.3f}" for name, mean in zip(scores, means(scores), strict=True))
    return f"{parts} harmonic {harmonic(scores):.4f}"
