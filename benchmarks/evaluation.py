"""`python -m benchmarks.evaluation [MODEL]`: cases a second, against a loop that scores one prompt at a time.

Each case has a patch of its own (random: what it does is of no matter here), of rank 1 as ROME's are or dense as those
of fine-tuning. The loop puts it on, asks one prompt after another, takes it off, and asks the unedited model again for
every case: what existing tools do. Putting on and off is our code, so its share is printed apart, and the ratio in
brackets leaves it out of the loop's time. The ways take turns, and of each the fastest round counts. What both find is
compared before the times are printed.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.machine import describe_machine
from editcore import Session
from editcore.assets.store import AssetStore
from editcore.cases.reading import parse_case
from editcore.evaluation.metrics.generated import TOKENS
from editcore.facade import open_model
from editcore.models.tokens.spans import encode_prompt
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.text.wording import contains
from editcore_demo import cases, model_path
from editcore_hooks import Case, Dense, LowRank, Site

FORCED = ("pref.es@1", "pref.ps@1", "pref.ns@1", "tf.token@1", "loc.agree@1")
WRITTEN = ("gen.contains@2",)
RUNS = (
    ("teacher-forced", False, False),
    ("teacher-forced, dense updates", False, True),
    ("with generation", True, False),
)
WAYS = ("loop", "patches", "cold", "warm")
Figures = dict[str, list[float]]
"""The value of each case, by metric."""


def random_patch(session: Session, number: int, dense: bool = False) -> Patch:
    site = Site("mlp_out", session.anatomy.n_layers // 2)
    key = session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries)
    drawn, weight = torch.Generator().manual_seed(number), session.anatomy.weight(site)
    size = float(weight.norm()) / 10
    out, in_ = (torch.randn(n, generator=drawn) / n**0.5 for n in weight.shape)  # (d_out,), (d_in,)
    update = LowRank(size * out[:, None], in_[None])
    stored = to_stored(Dense(update.out @ update.in_) if dense else update, session.anatomy.transposed(site))
    entry = session.checkpoint.entries[key]
    target = Target(stored, entry.dtype, entry.shape, session.checkpoint.base_sha256(key))
    return seal({key: target}, base_identity(session.checkpoint, session.loaded.name), {"title": f"random {number}"})


def one_at_a_time(session: Session, chosen: Sequence[Case], patches: Sequence[Patch], written: bool) -> Figures:
    """The same metrics by plain forwards of one row, with the unedited model asked again for every case."""
    figures: Figures = {name: [] for name in (*FORCED, *(WRITTEN if written else ()))}
    for case, patch in zip(chosen, patches, strict=True):
        probes = [probe for group in case.locality.values() for probe in group]
        asked = [(probe.prompt, probe.targets[0]) for probe in probes if probe.targets]
        before = [_forward(session, prompt, target)[1] for prompt, target in asked]
        with session.patched(patch):
            after = [_forward(session, prompt, target)[1] for prompt, target in asked]
            edit, request = case.request.rendered().text, case.request
            assert request.target_true is not None
            figures["tf.token@1"].append(fmean(_hits(session, edit, request.target_new)))
            figures["pref.es@1"].append(_prefers(session, edit, request.target_new, request.target_true))
            rephrased = [_prefers(session, text, request.target_new, request.target_true) for text in case.rephrases]
            near = case.locality.get("neighbour", ())
            kept = [_prefers(session, probe.prompt, probe.targets[0], request.target_new) for probe in near]
            for name, values in (("pref.ps@1", rephrased), ("pref.ns@1", kept)):
                figures[name] += [fmean(values)] if values else []
            if written:
                figures["gen.contains@2"].append(float(contains(_write(session, edit), (request.target_new,))))
        if asked:
            same = [fmean(float(a == b) for a, b in zip(x, y, strict=True)) for x, y in zip(before, after, strict=True)]
            figures["loc.agree@1"].append(fmean(same))
    return figures


@torch.no_grad()
def _forward(session: Session, prompt: str, target: str) -> tuple[float, list[int], tuple[int, ...]]:
    """Mean log-probability of the target's tokens, what stands first at each, and the tokens."""
    row = encode_prompt(session.tokenizer, prompt, target)
    logits = session.model(torch.tensor([row.ids])).logits[0, row.target.start - 1 : -1]  # (n, V)
    labels = torch.tensor(row.target_ids)
    return float(logits.log_softmax(-1).gather(-1, labels[:, None]).mean()), logits.argmax(-1).tolist(), row.target_ids


def _hits(session: Session, prompt: str, target: str) -> list[float]:
    _, said, ids = _forward(session, prompt, target)
    return [float(a == b) for a, b in zip(said, ids, strict=True)]


def _prefers(session: Session, prompt: str, one: str, other: str) -> float:
    return float(_forward(session, prompt, one)[0] > _forward(session, prompt, other)[0])


@torch.no_grad()
def _write(session: Session, prompt: str) -> str:
    ids = torch.tensor([encode_prompt(session.tokenizer, prompt).prompt_ids])
    new = session.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
    return str(session.tokenizer.decode(new[0, ids.shape[1] :]))


def together(session: Session, chosen: Sequence[Case], patches: Sequence[Patch], written: bool) -> Figures:
    names = [*FORCED, *(WRITTEN if written else ())]
    figures: Figures = {}
    for report in session.evaluate_each(chosen, patches, names):
        by_case: dict[str, list[float]] = {}
        for row in report.rows:
            by_case.setdefault(row["case"], []).append(row["value"])
        figures[report.metric] = [fmean(values) for values in by_case.values()]
    return figures


def put_on_and_off(session: Session, patches: Sequence[Patch]) -> None:
    """Seconds that the loop spends on patches."""
    for patch in patches:
        with session.patched(patch):
            pass


def timed(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    return run(*arguments), time.perf_counter() - started


def different(one: Figures, other: Figures) -> int:
    """How many values of cases are not the same in both."""
    assert {name: len(values) for name, values in one.items()} == {name: len(other[name]) for name in one}
    pairs = [pair for name, values in one.items() for pair in zip(values, other[name], strict=True)]
    return sum(abs(a - b) > 1e-6 for a, b in pairs)


def one_round(model: str, chosen: Sequence[Case], written: bool, dense: bool) -> tuple[dict[str, float], int]:
    """Seconds of each way, and how many values are not the same, of a model that has nothing kept."""
    with TemporaryDirectory() as folder:
        session = open_model(model, assets=AssetStore(folder))
        patches = [random_patch(session, number, dense) for number in range(len(chosen))]
        together(session, chosen[:2], patches[:2], written)  # what is loaded once is loaded
        new, cold = timed(together, session, chosen, patches, written)
        _, warm = timed(together, session, chosen, patches, written)
        old, slow = timed(one_at_a_time, session, chosen, patches, written)
        _, patching = timed(put_on_and_off, session, patches)
    return dict(zip(WAYS, (slow, patching, cold, warm), strict=True)), different(new, old)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("model", nargs="?", default=str(model_path()), help="folder of a model of the demo's world")
    parser.add_argument("--n", type=int, default=64, help="cases")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = [parse_case(row, "the cases") for row in cases(arguments.n, Path(arguments.model))]
    lines: list[tuple[str, dict[str, float], int]] = []
    for what, written, dense in RUNS:
        rounds = [one_round(arguments.model, chosen, written, dense) for _ in range(arguments.rounds)]
        best = {way: min(seconds[way] for seconds, _ in rounds) for way in WAYS}
        lines.append((what, best, sum(differing for _, differing in rounds)))
    print(f"{describe_machine(arguments.threads)}; {Path(arguments.model).name}, {len(chosen)} cases\n")
    print("| metrics | one prompt at a time | of it patches | together | unedited answers kept | values that differ |")
    print("|---|---|---|---|---|---|")
    for name, best, differing in lines:
        n, slow, patching = len(chosen), best["loop"], best["patches"]
        asking, share = slow - patching, f"{patching / slow:.0%}"
        rates = [
            f"{n / took:.1f} cases/s, {slow / took:.1f} times ({asking / took:.1f})"
            for took in (best["cold"], best["warm"])
        ]
        print(f"| {name} | {n / slow:.1f} cases/s | {share} | {rates[0]} | {rates[1]} | {differing} |")


if __name__ == "__main__":
    main()
