"""`python -m benchmarks.locating MODEL ROWS`: the layer that a locator names, against every layer that was tried.

ROWS is what `benchmarks.tuning MODEL --out ROWS` left, of the same model. A locator sees facts that the model states by
itself and never the cases of the sweep. Each layer counts with the best of its recipes, so that the difference is that
of the layer alone; `tune` with a locator chooses the recipe too, and is compared with the best of all settings.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.sweep import CONTEXTS, figures, find_row, harmonic, interval, read_rows
from editcore.cases.reading import parse_case
from editcore.cli.output import Output
from editcore.facade import open_model
from editcore.tuning.own import own_facts
from editcore.tuning.tune import SECONDS, tune
from editcore_causal_trace.hparams import LensHparams, TraceHparams
from editcore_causal_trace.locate import by_lens, by_trace
from editcore_demo import cases
from editcore_hooks import Location


def best_by_layer(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The row of each layer whose recipe is best."""
    found: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: harmonic(row["scores"])):
        found[row["settings"]["layer"]] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.locating", description=__doc__)
    parser.add_argument("model", help="folder of the model of the sweep")
    parser.add_argument("rows", type=Path, help="JSON lines of benchmarks.tuning, one a setting")
    parser.add_argument("--n", type=int, default=200, help="cases of the sweep")
    parser.add_argument("--facts", type=int, default=32, help="facts of its own that a locator sees")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="longest time of tune with a locator")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    session = open_model(arguments.model, talk=Output())
    chosen = [parse_case(row, "the cases") for row in cases(arguments.n, Path(arguments.model))]
    rows = [row for row in read_rows(session, chosen, arguments.rows) if row["contexts"] == CONTEXTS]
    layers = best_by_layer(rows)
    best = max(layers.values(), key=lambda row: harmonic(row["scores"]))
    n = len(best["scores"]["es"])
    print(describe_machine(arguments.threads))
    print(f"{session.model.config.model_type}, {n} facts; each layer with the best of its recipes\n")
    for layer, row in sorted(layers.items()):
        print(f"- layer {layer}: {figures(row['scores'])}")
    requests = [case.request for case in own_facts(session, arguments.facts).cases]
    print("\n| locator | layer | seconds | outcomes from the best | 95 % interval, paired |\n|---|---|---|---|---|")
    locators: dict[str, Callable[[], Location]] = {
        "causal-trace": lambda: by_trace(session, requests, TraceHparams(facts=arguments.facts)),
        "logit-lens": lambda: by_lens(session, requests, LensHparams(facts=arguments.facts)),
    }
    for name, locate in locators.items():
        start = perf_counter()
        named = locate().sites[0].layer
        assert named is not None
        _print_row(name, str(named), perf_counter() - start, best, layers.get(named))
    for name in locators:
        locator = f"{name}:facts={arguments.facts}"
        found = tune(session, "rome", name=f"by-{name}", seconds=arguments.seconds, locator=locator)
        kept = found.profile.about["locator"]
        verdict = "taken" if kept["chosen"] else f"tried: {kept['place']['layer']}"
        taken = f"{found.best.settings['layer']} ({verdict})"
        _print_row(f"tune with {name}", taken, found.seconds, best, find_row(rows, found.best.settings))


def _print_row(name: str, layer: str, seconds: float, best: Any, row: Any) -> None:
    if row is None:
        print(f"| {name} | {layer} | {seconds:.0f} | was not swept | |")
        return
    n = len(best["scores"]["es"])
    low, high = interval(best["scores"], row["scores"])
    apart = harmonic(best["scores"]) - harmonic(row["scores"])
    print(
        f"| {name} | {layer} | {seconds:.0f} | {apart * n:.1f} of {n} | {low * n:.1f} to {high * n:.1f} |", flush=True
    )


if __name__ == "__main__":
    main()
