"""CounterFact records as a small world of facts: what a model is taught, and cases that ask for it in other words.

A record gives a subject, an object and a template. Two templates state one relation where the paraphrases beside them
are distributed alike over the records.
"""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from editcore_hooks import UsageError

ALIKE: Final = 0.75
"""Least cosine of the counts of paraphrases beside two templates of one relation."""
OFTEN: Final = 8
"""Records that a template must stand in: of fewer its paraphrases say little."""
TAUGHT: Final = 3
NEIGHBOURS: Final = 5


@frozen
class Fact:
    """A subject and an object of a relation; `taught` are templates a model reads it in, `held_out` it never sees."""

    id: str
    relation: str
    subject: str
    object: str
    target_new: str
    taught: tuple[str, ...]
    held_out: str

    def sentences(self) -> list[str]:
        return [f"{template.replace('{}', self.subject)} {self.object}." for template in self.taught]


def read_facts(path: Path, n: int, seed: int = 0) -> list[Fact]:
    """`n` facts of a file of CounterFact records, one a subject, drawn by `seed`. Raises `UsageError`."""
    rows = [row for row in json.loads(path.read_text("utf-8")) if row["prompt"].count(row["subject"]) == 1]
    wordings = _wordings(rows)
    rng = random.Random(f"{seed}/records")
    rng.shuffle(rows)
    facts: dict[str, Fact] = {}
    for row in rows:
        own = _template(row, "prompt")
        others = [template for template in wordings.get(own, ()) if template != own]
        if row["subject"] in facts or len(others) < TAUGHT:
            continue
        held_out, *taught = rng.sample(others, TAUGHT)
        name, old, new = row["subject"], row["ground_truth"], row["target_new"]
        relation = min(wordings[own])
        facts[name] = Fact(f"counterfact-{row['case_id']}", relation, name, old, new, (own, *taught), held_out)
        if len(facts) == n:
            return list(facts.values())
    raise UsageError(f"{path.name} gives {len(facts)} facts, not {n}", hint="ask for fewer: --facts N")


def make_cases(facts: Sequence[Fact], known: set[str], n: int, seed: int = 0) -> list[dict[str, Any]]:
    """At most `n` cases of facts in `known`: the held-out wording, and neighbours, known subjects of its object."""
    rng = random.Random(f"{seed}/cases")
    sharing: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.id in known:
            sharing[fact.relation, fact.object].append(fact)
    cases = []
    for fact in rng.sample(list(facts), len(facts)):
        near = [other for other in sharing[fact.relation, fact.object] if other is not fact]
        if fact.id not in known or not near or fact.object == fact.target_new:
            continue
        near = rng.sample(near, min(NEIGHBOURS, len(near)))
        probes = [{"prompt": f.taught[0].replace("{}", f.subject), "target": f.object} for f in near]
        cases.append({
            "id": fact.id, "prompt": fact.taught[0], "subject": fact.subject,
            "target_new": fact.target_new, "target_true": fact.object,
            "rephrases": [fact.held_out.replace("{}", fact.subject)], "locality": {"neighbour": probes},
        })  # fmt: skip
        if len(cases) == n:
            break
    return cases


def _template(row: Mapping[str, str], key: str) -> str:
    return row[key].replace(row["subject"], "{}")


def _wordings(rows: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The templates of each template's relation, itself among them. A relation begins with its most frequent one."""
    beside: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        beside[_template(row, "prompt")][_template(row, "rephrase_prompt")] += 1
    often = [template for template, found in beside.items() if found.total() >= OFTEN]
    wordings: dict[str, list[str]] = {}
    for first in sorted(often, key=lambda template: (-beside[template].total(), template)):
        if first not in wordings:
            same = [t for t in often if t not in wordings and _cosine(beside[first], beside[t]) > ALIKE]
            wordings |= dict.fromkeys(same, same)
    return wordings


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    dot = sum(times * other[key] for key, times in one.items())
    return dot / math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
