"""`python -m benchmarks.tuning MODEL`: what `editcore tune` chooses, against every setting it could have chosen.

MODEL is a model of the demo's world with its cases.jsonl. `tune` sees facts that the model states by itself and never
the cases; then each of the first 200 cases is edited alone with every setting, and scored by the preference metrics.
Settings that differ in the number of steps share one trajectory. Rows are appended to --out as they are done; a run
that was stopped goes on.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.machine import describe_machine
from editcore import Session
from editcore.cli.output import Output
from editcore.editing.session import open_model
from editcore.evaluation.cases import parse_case
from editcore.models.branches import Branches
from editcore.models.scoring import target_logprobs
from editcore.models.spans import encode_prompt
from editcore.plugins.hparams import from_mapping
from editcore.tuning.tune import tune
from editcore_demo import cases
from editcore_hooks import Case, Location, LowRank, Site
from editcore_keyvalue.contexts import contexts_of
from editcore_keyvalue.solve import factor
from editcore_keyvalue.store import Wish, second_moments
from editcore_rome.hooks import Rome
from editcore_rome.hparams import RomeHparams
from editcore_rome.method import fitted, rank_one

CONTEXTS = 3
"""Sampled contexts of each length, in all settings alike."""
TOGETHER = 200
Score = dict[str, list[float]]
"""Share of the prompts of each case with the wanted outcome, by metric: es, ps, ns."""


def trajectories(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Recipes by all but their steps."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for recipe in recipes:
        rest = {key: value for key, value in recipe.items() if key != "v_steps"}
        found.setdefault(json.dumps(rest, sort_keys=True), []).append(recipe)
    return found


def sweep(session: Session, chosen: Sequence[Case], out: Path) -> list[dict[str, Any]]:
    """Every place with every recipe; the scores of all cases."""
    space = Rome.tunable(session.facts())
    assert space is not None
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {json.dumps(row["settings"], sort_keys=True) for row in rows}
    second_moments(session, [place["layer"] for place in space.places], Wish())
    for place in space.places:
        for recipes in trajectories(space.recipes).values():
            settings = [{**place, **recipe} for recipe in recipes]
            if all(json.dumps(one, sort_keys=True) in done for one in settings):
                continue
            for one, scores in zip(settings, _run(session, chosen, settings), strict=True):
                rows.append({"settings": one, "scores": scores})
                with out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            session.say(f"{settings[-1]}: {_figures(rows[-1]['scores'])}")
    return rows


def _run(session: Session, chosen: Sequence[Case], settings: Sequence[Mapping[str, Any]]) -> list[Score]:
    longest = max(one["v_steps"] for one in settings)
    h = from_mapping(RomeHparams, {**settings[0], "v_steps": longest, "context_count": CONTEXTS})
    site = Site("mlp_out", h.layer)
    assert h.layer is not None
    moment, _ = second_moments(session, [h.layer], Wish())[h.layer]
    lower = session.cached(("sweep", h.layer), lambda: factor(moment.mean, h.mom2_ridge))
    contexts = contexts_of(session, h)
    scores: list[Score] = [{"es": [], "ps": [], "ns": []} for _ in settings]
    for start in range(0, len(chosen), TOGETHER):
        some = chosen[start : start + TOGETHER]
        steps = [one["v_steps"] for one in settings]
        values = fitted(session, [case.request for case in some], contexts, Location((site,)), h, steps)
        for number, t in enumerate(steps):
            updates: list[Mapping[Site, LowRank]] = []
            for value in values:
                delta = value.at[t]
                update = rank_one(value.keys, delta, session.anatomy.weight(site), lower, h.key_mode)
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
    found = target_logprobs(session.model, items, around=lambda batch: branches.on(owners[list(batch)]))
    by_case: dict[str, dict[int, list[float]]] = {"es": {}, "ps": {}, "ns": {}}
    for i, (e, kind, *_) in enumerate(asked):
        by_case[kind].setdefault(e, []).append(float(found[2 * i].mean > found[2 * i + 1].mean))
    return {kind: [fmean(outcomes) for outcomes in cases_.values()] for kind, cases_ in by_case.items()}


def harmonic(scores: Mapping[str, Sequence[float]], sample: Mapping[str, torch.Tensor] | None = None) -> float:
    means = [float(torch.tensor(v)[sample[k] if sample else slice(None)].mean()) for k, v in scores.items()]
    return 0.0 if min(means) <= 0 else len(means) / sum(1 / mean for mean in means)


def _figures(scores: Mapping[str, Sequence[float]]) -> str:
    parts = " ".join(f"{name} {fmean(values):.3f}" for name, values in scores.items())
    return f"{parts} harmonic {harmonic(scores):.4f}"


def _interval(best: Score, tuned: Score) -> tuple[float, float]:
    """95 % of the paired difference, by 2,000 resamples of the cases."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    for _ in range(2000):
        sample = {k: torch.randint(len(v), (len(v),), generator=generator) for k, v in best.items()}
        differences.append(harmonic(best, sample) - harmonic(tuned, sample))
    low, high = torch.tensor(differences).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("model", help="folder of a model of the demo's world")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a setting")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    session = open_model(arguments.model, talk=Output())
    chosen = [parse_case(row, "the cases") for row in cases(arguments.n, Path(arguments.model))]
    rows = sweep(session, chosen, arguments.out)
    tuned = tune(session, "rome", seconds=600.0)
    ranked = sorted(rows, key=lambda row: -harmonic(row["scores"]))
    best = ranked[0]
    mine = next(row for row in rows if row["settings"] == dict(tuned.best.settings))
    apart = harmonic(best["scores"]) - harmonic(mine["scores"])
    low, high = _interval(best["scores"], mine["scores"])
    print(describe_machine(arguments.threads))
    print(
        f"{session.model.config.model_type}, {len(chosen)} facts, {len(rows)} settings, {CONTEXTS} contexts a length\n"
    )
    print("| setting | ES | PS | NS | harmonic |\n|---|---|---|---|---|")
    for mark, row in (
        ("chosen by tune", mine),
        *((f"rank {i}", row) for i, row in enumerate(ranked[:8], 1)),
        ("last", ranked[-1]),
    ):
        text = " ".join(f"{key}={value}" for key, value in row["settings"].items())
        figures = " | ".join(f"{fmean(values):.1%}" for values in row["scores"].values())
        print(f"| {mark}: {text} | {figures} | {harmonic(row['scores']):.1%} |")
    n, facts = len(chosen), len(tuned.best.outcomes)
    print(
        f"\nThe choice is {apart * n:.1f} of {n} outcomes from the best (95 % interval of the paired difference "
        f"{low * n:.1f} to {high * n:.1f}); found in {tuned.seconds:.0f} s on {facts} facts of the model itself."
    )


if __name__ == "__main__":
    main()
