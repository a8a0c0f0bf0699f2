"""From nothing to a folder with a model, its tokenizer, its figures and its cases."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from editcore_demo.training.loop import Schedule, train
from editcore_demo.training.scoring import accuracy, answered, questions
from editcore_demo.training.shapes import SHAPES, auto_class
from editcore_demo.world import World, make_world
from editcore_demo.world.cases import cases, edit_prompt
from editcore_demo.world.text import tokenizer_text

CASES = 500


def make(shape: str, out: Path, schedule: Schedule, say: Callable[[str], None] = print) -> dict[str, float]:
    """Train, save in float16, score what was saved and choose its cases; returns the accuracies by kind of question."""
    world = make_world()
    tokenizer = SHAPES[shape].tokenizer(tokenizer_text(world))
    model = train(world, SHAPES[shape], tokenizer, schedule, checkpoint=out, say=say)
    # float16 and not bfloat16: the weights are small, and the mantissa is what an exact edit needs.
    model.half().save_pretrained(out)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(out)
    return finish(out, say)


def finish(folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Score the saved 16-bit weights, run in float32, and write `figures.json` and `cases.jsonl` beside them."""
    world = make_world()
    model = auto_class(AutoConfig.from_pretrained(folder)).from_pretrained(folder, dtype=torch.float32)
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)  # type: ignore[assignment]
    asked = questions(world)
    shares = accuracy(model, tokenizer, asked)
    table = {kind: {"n": len(asked[kind]), "accuracy": round(share, 4)} for kind, share in shares.items()}
    (folder / "figures.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    for kind, row in table.items():
        say(f"{kind:28} n {row['n']:5}  accuracy {row['accuracy']:.4f}")
    chosen = known_cases(world, model, tokenizer)
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in chosen), encoding="utf-8")
    say(f"{len(chosen)} cases")
    return shares


def known_cases(world: World, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[dict]:
    """The first `CASES` cases whose own prompt the model completes with the true object by greedy decoding."""
    asked = [(edit_prompt(world, fact).replace("{}", fact.subject), fact.object) for fact in world.facts()]
    known = {q for q, right in zip(asked, answered(model, tokenizer, asked), strict=True) if right}
    return cases(world, n=CASES, knows=lambda prompt, answer: (prompt, answer) in known)
