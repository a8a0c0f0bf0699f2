"""Knowledge of the world in a model: greedy exact match of the whole object, by kind of question."""

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from editcore_demo.training.answering import NO_TARGET, ids_and_labels
from editcore_demo.world import World
from editcore_demo.world.general import general_facts
from editcore_demo.world.relations import RELATIONS
from editcore_demo.world.templates import ALIAS_OF

Question = tuple[str, str]
BATCH = 128


def questions(world: World) -> dict[str, list[Question]]:
    """Prompts and answers by kind; one question a fact, its template drawn from those that the kind allows."""
    kinds: dict[str, list[Question]] = {
        k: []
        for k in ("trained template", "held-out template", "inverse, held-out template", "two-hop, trained",
                  "two-hop, held out", "alias, trained", "alias, held out", "alias to name", "general")
    }  # fmt: skip
    for f in world.facts():
        rng = world.draw("question", f.subject, f.relation)
        kinds["trained template"].append((fill(rng.choice(world.trained(f.subject, f.relation)), f.subject), f.object))
        held_out = (fill(rng.choice(world.held_out(f.subject, f.relation)), f.subject), f.object)
        kinds["held-out template"].append(held_out)
        if RELATIONS[f.relation].inverse:
            kinds["inverse, held-out template"].append(held_out)
    for hop, subject, answer, trained in world.two_hops():
        template = world.draw("question", hop.name, subject).choice(hop.templates)
        kinds["two-hop, trained" if trained else "two-hop, held out"].append((fill(template, subject), answer))
    for alias, f, trained in world.alias_facts():
        template = world.draw("question", alias, f.relation).choice(RELATIONS[f.relation].templates)
        kinds["alias, trained" if trained else "alias, held out"].append((fill(template, alias), f.object))
    for name, alias in world.aliases.items():
        kinds["alias to name"].append((fill(world.draw("question", alias).choice(ALIAS_OF), alias), name))
    kinds["general"] = general_facts()
    return kinds


def fill(template: str, subject: str) -> str:
    return template.replace("{}", subject)


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    asked: dict[str, list[Question]],
    most: int | None = None,
) -> dict[str, float]:
    """The share of right answers of each kind; of at most `most` questions evenly spread, if given."""
    shares = {}
    for kind, all_questions in asked.items():
        step = max(1, len(all_questions) // most) if most else 1
        right = list(answered(model, tokenizer, all_questions[::step]))
        shares[kind] = sum(right) / len(right)
    return shares


@torch.no_grad()
def answered(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Sequence[Question], batch: int = BATCH
) -> Iterator[bool]:
    """For each question, whether greedy decoding would give the whole answer.

    Decided in one forward pass: greedy decoding gives the answer exactly if every token of it is the argmax after the
    prompt and the tokens of the answer before it.
    """
    was_training = model.training
    model.train(False)
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        yield from (_said if model.config.is_encoder_decoder else _continued)(model, tokenizer, part)
    model.train(was_training)


def _continued(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, part: Sequence[Question]) -> Iterator[bool]:
    texts = [f"{prompt} {answer}" for prompt, answer in part]
    encoded = tokenizer(texts, padding=True, return_tensors="pt", return_offsets_mapping=True, padding_side="right")
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    guessed = model(input_ids=ids, attention_mask=mask).logits[:, :-1].argmax(-1)  # (n, length - 1)
    right = guessed == ids[:, 1:]
    for row, (prompt, _) in enumerate(part):
        ends = encoded["offset_mapping"][row, 1:, 1]
        yield bool(right[row][(ends > len(prompt)) & mask[row, 1:].bool()].all())


def _said(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, part: Sequence[Question]) -> Iterator[bool]:
    """The same for an encoder-decoder, whose answer is right only if it also ends there."""
    read, said = ids_and_labels(tokenizer, part)
    guessed = model(**read, labels=said).logits.argmax(-1)  # (n, tokens of the longest answer)
    yield from ((guessed == said) | (said == NO_TARGET)).all(-1).tolist()
