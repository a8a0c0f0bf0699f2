"""`python -m benchmarks.real.ten_facts MODEL`: ten real facts that the model states, by several methods' defaults.

Facts of `facts.jsonl` whose true answer the model gives greedily, the first ten of them. Each is edited alone; methods
that take many also write all of them at once. An empty cache, and no settings: what `edit` would do. A paraphrase
counts when the edited model's greedy answer begins with the target; a neighbour, when its greedy answer is unchanged.
The first row is the unedited model's own answers to the same prompts.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from attrs import evolve

from benchmarks.machine import describe_machine
from editcore.assets.store import AssetStore
from editcore.cases.reading import parse_case
from editcore.cli.output import Output
from editcore.editing.prepared import EditOptions
from editcore.facade import Session, open_model
from editcore.patches.file.patch import Patch
from editcore_hooks import Case

METHODS = ("rome", "ft-m", "memit")
METRICS = ("tf.exact@1", "tf.exact.rephrase@1", "loc.agree.neighbour@1", "damage.ppl@1")


def known(session: Session, n: int) -> list[Case]:
    """The first n facts that the model states."""
    lines = Path(__file__).with_name("facts.jsonl").read_text("utf-8").splitlines()
    cases = [parse_case(json.loads(line), "facts.jsonl") for line in lines]
    asked = [(case.request.rendered().text, str(case.request.target_true), None, "auto") for case in cases]
    right = session.score_targets(asked)
    return [case for case, score in zip(cases, right, strict=True) if all(score.hits)][:n]


def figures(session: Session, cases: Sequence[Case], patches: Sequence[Patch]) -> list[str]:
    """The mean of each metric, over cases with their own patch, or with one patch for all."""
    if len(patches) == len(cases):
        reports = session.evaluate_each(cases, patches, METRICS)
    else:
        with session.patched(*patches):
            reports = session.evaluate(cases, METRICS)
    by_name = {report.metric: report for report in reports}
    return [f"{by_name[name].value:.2f} ({by_name[name].n})" for name in METRICS]


def own_answers(session: Session, cases: Sequence[Case]) -> list[str]:
    """How often the unedited model gives its own answer, to the prompt and to paraphrases: what an edit can reach."""
    true = [evolve(case, request=evolve(case.request, target_new=str(case.request.target_true))) for case in cases]
    reports = {report.metric: report for report in session.evaluate(true, METRICS[:2])}
    return [f"{reports[name].value:.2f} ({reports[name].n})" for name in METRICS[:2]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.ten_facts", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    head = "| method | facts | settings | target | paraphrases | neighbours kept | perplexity × | seconds |"
    print(f"{arguments.model.name}\n\n{head}\n|---|---|---|---|---|---|---|---|", flush=True)
    unedited = open_model(arguments.model, talk=Output())
    cases = known(unedited, arguments.n)
    print(
        f"| unedited | {len(cases)} | its own answers | {' | '.join(own_answers(unedited, cases))} | | | |", flush=True
    )
    for method in arguments.methods.split(","):
        for together in (False, True):
            with tempfile.TemporaryDirectory() as cache:
                session = open_model(arguments.model, assets=AssetStore(cache), talk=Output())
                cases = known(session, arguments.n)
                if together and "batch" not in session.registry.method(method).capabilities:
                    continue
                requests, options = [case.request for case in cases], EditOptions(method=method)
                started = time.perf_counter()
                patches = [session.edit_all(requests, options)] if together else session.edit_each(requests, options)
                seconds = time.perf_counter() - started
                profile = patches[0].about.get("profile") or {}
                settings = " ".join(f"{k}={v}" for k, v in _chosen(session, method, profile).items()) or "defaults"
                row = [
                    f"{len(cases)} {'at once' if together else 'alone'}",
                    settings,
                    *figures(session, cases, patches),
                ]
            print(f"| {method} | {' | '.join(row)} | {seconds:.0f} |", flush=True)
    print(f"\n{describe_machine(arguments.threads)}")


def _chosen(session: Session, method: str, profile: object) -> dict[str, object]:
    from editcore.tuning.profiles import find_profile

    name = profile.get("name") if isinstance(profile, dict) else None
    found = find_profile(session, method, name) if name else None
    return dict(found.hparams) if found is not None else {}


if __name__ == "__main__":
    main()
