"""Effect of both ways on the demo model: the same contexts, moments and settings, outcomes paired case by case."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

import torch
from attrs import define, field

from benchmarks.machine import describe_machine
from benchmarks.memit.plain import Problem, plain
from editcore import Session
from editcore.cases.reading import parse_case
from editcore.cli.output import Output
from editcore.editing.prepared import EditOptions
from editcore.facade import open_model
from editcore.plugins.hparams import from_mapping
from editcore_demo import cases, model_path
from editcore_hooks import Case, Site
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.contexts import beginnings, contexts_of
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.fitting import value_settings
from editcore_keyvalue.ridge import ridge_of
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.subjects import by_key, in_beginnings
from editcore_memit.hooks import Memit
from editcore_memit.hparams import MemitHparams

TOGETHER: Final = 100
METRICS: Final = ("pref.es@1", "pref.ps@1", "pref.ns@1")


@define
class Told:
    """By metric the share of wanted outcomes of each case, and the seconds that the edits took."""

    scores: dict[str, list[float]] = field(factory=lambda: {metric: [] for metric in METRICS})
    seconds: float = 0.0

    def add(self, session: Session, chosen: Sequence[Case], seconds: float) -> None:
        self.seconds += seconds
        for report in session.evaluate(chosen, METRICS):
            own: dict[str, list[float]] = {}
            for row in report.rows:
                own.setdefault(str(row["case"]), []).append(float(row["value"]))
            self.scores[report.metric] += [fmean(values) for values in own.values()]


def compare(n: int, threads: int) -> None:
    """Edit `n` cases of the demo model, 100 at once, in every way, and print what came of it."""
    session, low = (open_model(model_path(), dtype=dtype, talk=Output()) for dtype in ("float32", "bfloat16"))
    chosen = [parse_case(row, "the demo's cases") for row in cases(n)]
    preset = dict(Memit.preset({**session.traits(), "edits": TOGETHER}))
    hparams = from_mapping(MemitHparams, preset)
    contexts = contexts_of(session, hparams)
    low.cached(
        ("beginnings", low.seed, hparams.key_contexts), lambda: beginnings(session, hparams.key_contexts), base=True
    )
    settings = {**preset, "context_templates": contexts}
    second_moments(session, hparams.layers, MomentRequest.of(hparams))
    print(describe_machine(threads, "float32 and bfloat16"))
    print(f"the demo model, {n} cases, {TOGETHER} at once, stop at a loss of 0.05; its preset: {preset}\n")
    ways: dict[str, Callable[[Told, Sequence[Case]], None]] = {
        "plain, float32": lambda told, some: _plainly(told, session, some, hparams, contexts),
        "fast, float32": lambda told, some: _fast(told, session, session, some, settings),
        "fast, bfloat16": lambda told, some: _fast(told, low, session, some, settings),
        "fast, float32, stop at argmax": lambda told, some: _fast(
            told, session, session, some, {**settings, "v_stop": "argmax"}
        ),
    }
    print("| way | seconds | ES | PS | NS |\n|---|---|---|---|---|")
    told: dict[str, Told] = {}
    for name, run in ways.items():
        told[name] = Told()
        for start in range(0, n, TOGETHER):
            run(told[name], chosen[start : start + TOGETHER])
        shown = " | ".join(f"{100 * fmean(told[name].scores[metric]):.1f} %" for metric in METRICS)
        print(f"| {name} | {told[name].seconds:.1f} | {shown} |", flush=True)
    print("\n| paired, in cases | ES | PS | NS |\n|---|---|---|---|")
    for one, other in (("fast, float32", "plain, float32"), ("fast, bfloat16", "fast, float32"),
                       ("fast, float32, stop at argmax", "fast, float32")):  # fmt: skip
        print(f"| {one}, against {other} | {' | '.join(_paired(told[one], told[other], m) for m in METRICS)} |")


def _paired(one: Told, other: Told, metric: str) -> str:
    pairs = list(zip(one.scores[metric], other.scores[metric], strict=True))
    gained = sum(max(a - b, 0.0) for a, b in pairs)
    lost = sum(max(b - a, 0.0) for a, b in pairs)
    return f"{gained - lost:+.1f} (+{gained:.1f} −{lost:.1f} of {len(pairs)})"


def _fast(told: Told, editing: Session, scoring: Session, some: Sequence[Case], settings: Mapping[str, Any]) -> None:
    """Patches are of the stored weights, in whatever the model ran when they were made."""
    options = EditOptions(method="memit", hparams=(("the benchmark", settings),))
    editing.edit_all([some[0].request], options, measured=False)  # what is collected once
    started = time.perf_counter()
    patch = editing.edit_all([case.request for case in some], options, measured=False)
    seconds = time.perf_counter() - started
    with scoring.patched(patch):
        told.add(scoring, some, seconds)


@torch.no_grad()
def _plainly(
    told: Told, session: Session, some: Sequence[Case], hparams: MemitHparams, contexts: Sequence[str]
) -> None:
    anatomy = session.anatomy
    moments = second_moments(session, hparams.layers, MomentRequest.of(hparams))
    lowers = {
        layer: factor(moment.mean, ridge_of(moment, hparams.mom2_ridge)) for layer, (moment, _) in moments.items()
    }
    weight = hparams.mom2_weight if hparams.mom2_weight is not None else default_lambda(anatomy.mlp_width)
    problem = Problem(
        anatomy, hparams.layers, value_settings(hparams), weight,
        {layer: lower @ lower.T for layer, lower in lowers.items()}, hparams.context_spread,
    )  # fmt: skip
    shared = by_key(session, [case.request for case in some], contexts, "subject_last")
    more = beginnings(session, hparams.key_contexts)
    keyed = [in_beginnings(session, each, more, len(contexts), "subject_last") for each in shared]
    started = time.perf_counter()
    made = plain(problem, [each.rows for each in shared], keyed=keyed)
    seconds = time.perf_counter() - started
    sites = {Site("mlp_out", layer): delta for layer, delta in made.deltas.items()}
    kept = {site: anatomy.weight(site).clone() for site in sites}
    for site, delta in sites.items():
        anatomy.weight(site).add_(delta)
    try:
        told.add(session, some, seconds)
    finally:
        for site, weight_before in kept.items():
            anatomy.weight(site).copy_(weight_before)
