"""`python -m benchmarks.locating MODEL ROWS`: the layer that a locator names, against every layer that was tried.

ROWS is what `benchmarks.tuning MODEL --out ROWS` left, of the same model. A locator sees facts that the model states by
itself and never the cases of the sweep. Each layer counts with the best of its recipes, so that the difference is that
of the layer alone.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.tuning import _figures, _interval, harmonic
from editcore.cli.output import Output
from editcore.editing.session import open_model
from editcore.tuning.facts import own_cases
from editcore_causal_trace.hparams import LensHparams, TraceHparams
from editcore_causal_trace.locate import by_lens, by_trace
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
    parser.add_argument("--facts", type=int, default=32, help="facts of its own that a locator sees")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    session = open_model(arguments.model, talk=Output())
    layers = best_by_layer([json.loads(line) for line in arguments.rows.read_text("utf-8").splitlines()])
    best = max(layers.values(), key=lambda row: harmonic(row["scores"]))
    n = len(best["scores"]["es"])
    print(describe_machine(arguments.threads))
    print(f"{session.model.config.model_type}, {n} facts; each layer with the best of its recipes\n")
    for layer, row in sorted(layers.items()):
        print(f"- layer {layer}: {_figures(row['scores'])}")
    requests = [case.request for case in own_cases(session, arguments.facts)]
    print("\n| locator | layer | seconds | outcomes from the best | 95 % interval, paired |\n|---|---|---|---|---|")
    locators: dict[str, Callable[[], Location]] = {
        "causal-trace": lambda: by_trace(session, requests, TraceHparams(facts=arguments.facts)),
        "logit-lens": lambda: by_lens(session, requests, LensHparams(facts=arguments.facts)),
    }
    for name, locate in locators.items():
        start = perf_counter()
        named = locate().sites[0].layer
        seconds = perf_counter() - start
        assert named is not None
        if named not in layers:
            print(f"| {name} | {named} | {seconds:.0f} | was not tried | |")
            continue
        apart = harmonic(best["scores"]) - harmonic(layers[named]["scores"])
        low, high = _interval(best["scores"], layers[named]["scores"])
        print(f"| {name} | {named} | {seconds:.0f} | {apart * n:.1f} of {n} | {low * n:.1f} to {high * n:.1f} |")


if __name__ == "__main__":
    main()
