"""`python -m benchmarks.tuning MODEL`: what `editcore tune` chooses, against every setting it could have chosen.

MODEL is a model of the demo's world with its cases.jsonl. `tune` sees facts that the model states by itself and never
the cases, and starts as it does on a model met for the first time; each of the first 200 cases is edited alone with
every setting, and scored by the preference metrics. Settings that differ in the number of steps share one trajectory.
Rows are appended to --out as they are done; a run that was stopped goes on.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.sweep import CONTEXTS, find_row, harmonic, in_space, interval, means, measured, sweep
from editcore.assets.store import AssetStore
from editcore.cases.reading import parse_case
from editcore.cli.output import Output
from editcore.facade import Session, open_model
from editcore.tuning.tune import SECONDS, Tuned, tune
from editcore_demo import cases
from editcore_hooks import Case
from editcore_rome.hparams import RomeHparams

SHOWN = 8


def tuned(folder: str, seed: int, seconds: float) -> Tuned:
    """A first start: no statistics are there."""
    with tempfile.TemporaryDirectory() as empty:
        session = open_model(folder, seed=seed, assets=AssetStore(empty), talk=Output())
        return tune(session, "rome", seconds=seconds)


def distance(rows: Sequence[Mapping[str, Any]], best: Any, settings: Mapping[str, Any]) -> str:
    """Outcomes between a choice and the best row, with the interval of the paired difference."""
    mine, n = find_row(rows, settings), len(best["scores"]["es"])
    apart = harmonic(best["scores"]) - harmonic(mine["scores"])
    low, high = interval(best["scores"], mine["scores"])
    return f"{apart * n:.1f} of {n} outcomes from the best (95 % interval {low * n:.1f} to {high * n:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("model", help="folder of a model of the demo's world")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="longest time of a tune, as its own option")
    parser.add_argument("--seeds", default="0", help="seeds of tune, 0,1,2: each is a search of its own")
    parser.add_argument("--layers", help="sweep these alone, 0,1,2; none given: every layer")
    parser.add_argument("--no-tune", action="store_true", help="the sweep alone")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a setting")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    session = open_model(arguments.model, talk=Output())
    chosen = [parse_case(row, "the cases") for row in cases(arguments.n, Path(arguments.model))]
    layers = None if arguments.layers is None else [int(layer) for layer in arguments.layers.split(",") if layer]
    rows = sweep(session, chosen, arguments.out, layers)
    if arguments.no_tune:
        return
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    found = {seed: tuned(arguments.model, seed, arguments.seconds) for seed in seeds}
    print(describe_machine(arguments.threads))
    _print_table(session, chosen, rows, found[seeds[0]], arguments.out)
    _print_choices(session, rows, found)


def _print_table(session: Session, chosen: Sequence[Case], rows: list[dict[str, Any]], first: Tuned, out: Path) -> None:
    settings = dict(first.best.settings)
    contexts = RomeHparams().context_count
    (as_shipped,) = measured(session, chosen, out, rows, [settings], contexts)
    ranked = _ranked(rows)
    inside = [row for row in ranked if row["settings"] in in_space(session)]
    print(
        f"{session.model.config.model_type}, {len(chosen)} facts, {CONTEXTS} contexts a length: "
        f"{len(inside)} settings that tune chooses from, and {len(ranked) - len(inside)} more\n"
    )
    print("| setting | ES | PS | NS | harmonic |\n|---|---|---|---|---|")
    for mark, row in (
        ("chosen by tune", find_row(rows, settings)),
        (f"the same, {contexts} contexts a length, as `edit` has it", as_shipped),
        *((f"rank {i}{_outside(row, inside)}", row) for i, row in enumerate(ranked[:SHOWN], 1)),
        (f"last{_outside(ranked[-1], inside)}", ranked[-1]),
    ):
        text = " ".join(f"{key}={value}" for key, value in row["settings"].items())
        figures = " | ".join(f"{value:.1%}" for value in means(row["scores"]))
        print(f"| {mark}: {text} | {figures} | {harmonic(row['scores']):.1%} |")


def _print_choices(session: Session, rows: Sequence[dict[str, Any]], found: Mapping[int, Tuned]) -> None:
    ranked = _ranked(rows)
    inside = [row for row in ranked if row["settings"] in in_space(session)]
    print(f"\nThe best of all is {distance(rows, inside[0], ranked[0]['settings'])} that tune chooses from.\n")
    for seed, one in found.items():
        about = one.profile.about
        text = " ".join(f"{key}={value}" for key, value in one.best.settings.items())
        stopped = "; stopped by its time" if about["stopped"] else ""
        print(
            f"Seed {seed}: {text}, {distance(rows, inside[0], one.best.settings)} it could choose; "
            f"estimated {about['estimate']:.0f} s, took {one.seconds:.0f} s of at most {about['limit']:.0f}, "
            f"{about['n_facts']} facts of the model itself{stopped}."
        )


def _ranked(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["contexts"] == CONTEXTS), key=lambda row: -harmonic(row["scores"]))


def _outside(row: Any, inside: Sequence[Any]) -> str:
    return "" if row in inside else " (not tried by tune)"


if __name__ == "__main__":
    main()
