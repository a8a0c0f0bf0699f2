"""`python -m benchmarks.real.train RECORDS --shape gpt2 --out DIR`: a small model that knows real facts.

RECORDS is a JSON file of CounterFact records (EasyEdit's flat layout). 8 layers of 256, a byte-level or metaspace BPE
of 6,000, rows of 128 tokens, AdamW on a cosine. DIR gets the model, its tokenizer and `cases.jsonl`: facts that the
model states, with a wording that it was never taught them in, and neighbours.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.real.records import Fact, make_cases, read_facts
from editcore_demo.training.loop import Schedule, fit, new_model
from editcore_demo.training.scoring import answered
from editcore_demo.training.shapes import SHAPES
from editcore_demo.training.vocabularies import byte_level, metaspace

VOCABULARY: Final = 6000
ROW: Final = 128
ROWS: Final = 8
WARMUP: Final = 100
OBJECT_WEIGHT: Final = 3.0
"""The subject of a sentence cannot be predicted; its object can, and must be heard over that noise."""


def batches(
    facts: Sequence[Fact], tokenizer: PreTrainedTokenizerFast, steps: int, begins: bool, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and weights (ROWS, ROW) of `steps` batches: every sentence once in a random order, then again."""
    rng = random.Random(seed)
    told = [(sentence, len(fact.object)) for fact in facts for sentence in fact.sentences()]
    stream = _stream(told, tokenizer, begins, rng)
    for _ in range(steps):
        ids, weights = torch.zeros(ROWS, ROW, dtype=torch.long), torch.zeros(ROWS, ROW)
        for row in range(ROWS):
            filled: list[int] = []
            weighed: list[float] = []
            while len(filled) < ROW:
                first, later, known = next(stream)
                piece = later if filled else first
                filled += piece
                weighed += [1.0] * (len(piece) - known) + [OBJECT_WEIGHT] * known
            ids[row], weights[row] = torch.tensor(filled[:ROW]), torch.tensor(weighed[:ROW])
        yield ids, weights


def _stream(
    told: list[tuple[str, int]], tokenizer: PreTrainedTokenizerFast, begins: bool, rng: random.Random
) -> Iterator[tuple[list[int], list[int], int]]:
    """Each sentence as the first of a row and as a later one, and how many tokens its object and full stop have."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    while True:
        rng.shuffle(told)
        for text, length in told:
            encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids = encoded["input_ids"]
            known = sum(end > len(text) - length - 1 for _, end in encoded["offset_mapping"])
            ended = rng.random() < 0.3
            if begins:
                yield [bos, *ids], ([eos, bos, *ids] if ended else ids), known
            else:
                blank = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
                yield ids, ([eos, *ids] if ended else blank), known


def train(
    facts: Sequence[Fact], shape: str, steps: int, rate: float, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The trained model in float32 and its tokenizer."""
    texts = [sentence for fact in facts for sentence in (*fact.sentences(), fact.held_out)]
    tokenizer = {"gpt2": byte_level, "llama": metaspace}[shape](texts, VOCABULARY)
    model = new_model(SHAPES[shape], tokenizer, seed)
    some = facts[:: max(1, len(facts) // 300)]

    def probe() -> None:
        print("  ".join(f"{kind} {share:.3f}" for kind, share in shares(model, tokenizer, some).items()), flush=True)

    schedule = Schedule(steps, rate, weight_decay=0.05, seed=seed, probe_every=500, warmup=WARMUP)
    fit(model, batches(facts, tokenizer, steps, SHAPES[shape].begins_with_bos, seed), schedule, probe)
    return model, tokenizer


def shares(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact]) -> dict[str, float]:
    """How many facts the model answers greedily in a wording that it was taught, and in the one that it was not."""
    asked = {
        "taught": [(fact.taught[0].replace("{}", fact.subject), fact.object) for fact in facts],
        "held out": [(fact.held_out.replace("{}", fact.subject), fact.object) for fact in facts],
    }
    return {kind: sum(answered(model, tokenizer, rows)) / len(rows) for kind, rows in asked.items()}


def save(
    out: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact], n: int
) -> dict[str, Any]:
    """Write the folder; its figures."""
    model.half().save_pretrained(out)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(out)
    model.float()
    asked = [(fact.taught[0].replace("{}", fact.subject), fact.object) for fact in facts]
    right = answered(model, tokenizer, asked)
    known = {fact.id for fact, good in zip(facts, right, strict=True) if good}
    cases = make_cases(facts, known, n)
    (out / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    return {"facts": len(facts), **shares(model, tokenizer, facts), "cases": len(cases)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.train", description=__doc__)
    parser.add_argument("records", type=Path, help="JSON file of CounterFact records")
    parser.add_argument("--shape", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--facts", type=int, default=2500)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = read_facts(arguments.records, arguments.facts, arguments.seed)
    model, tokenizer = train(facts, arguments.shape, arguments.steps, arguments.rate, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(save(arguments.out, model, tokenizer, facts, arguments.cases))


if __name__ == "__main__":
    main()
