"""Edit cases of the world, one JSON object each, in the form of `cases.jsonl`.

Every portability probe has a condition: a question whose answer the unedited model must know, or else its failing says
nothing of the edit.
"""

from collections.abc import Callable
from typing import Any

from editcore_demo.world.general import general_facts
from editcore_demo.world.model import Fact, World
from editcore_demo.world.relations import RELATIONS, TWO_HOPS
from editcore_demo.world.text import sentence

Case = dict[str, Any]
Probe = dict[str, Any]
Knows = Callable[[str, str], bool]
Alike = dict[tuple[str, str], list[Fact]]
"""The facts of each relation and object, in the order of the world."""

NEIGHBOURS = 6
OTHER_ATTRIBUTIONS = 4
DISTRACTED = 3
OTHER_TASKS = 3


def cases(world: World, seed: int = 0, n: int | None = None, knows: Knows = lambda prompt, answer: True) -> list[Case]:
    """Up to `n` cases, one a fact, the relations taking turns, in an order that the seed decides.

    A fact is taken if `knows(prompt, object)` holds for its prompt, and for no other reason. Relations with few facts
    run out; the others go on taking turns.
    """
    rng = world.draw("cases", str(seed))
    waiting: dict[str, list[Fact]] = {}
    alike: Alike = {}
    for fact in world.facts():
        waiting.setdefault(fact.relation, []).append(fact)
        alike.setdefault((fact.relation, fact.object), []).append(fact)
    for facts in waiting.values():
        rng.shuffle(facts)
    found: list[Case] = []
    while any(waiting.values()) and (n is None or len(found) < n):
        for facts in waiting.values():
            while facts:
                fact = facts.pop()
                prompt = edit_prompt(world, fact, seed)
                if knows(prompt.replace("{}", fact.subject), fact.object):
                    found.append(_case(world, fact, prompt, seed, alike))
                    break
    return found[:n]


def edit_prompt(world: World, fact: Fact, seed: int = 0) -> str:
    """The prompt that a case of this fact edits: one of its trained templates."""
    rng = world.draw("prompt", str(seed), fact.subject, fact.relation)
    return rng.choice(world.trained(fact.subject, fact.relation))


def _case(world: World, fact: Fact, prompt: str, seed: int, alike: Alike) -> Case:
    rng = world.draw("case", str(seed), fact.subject, fact.relation)
    target_new = rng.choice([o for o in world.choices(fact.relation) if o not in (fact.object, fact.subject)])
    new = Fact(fact.subject, fact.relation, target_new)
    neighbour = _neighbours(world, fact, seed, alike)
    others = [
        _probe(world, Fact(fact.subject, relation, obj), seed)
        for (subject, relation), obj in world.objects.items()
        if subject == fact.subject and relation not in (fact.relation, RELATIONS[fact.relation].inverse)
    ]
    statement = sentence(prompt, fact.subject, target_new)
    tasks = [{"prompt": question, "target": answer} for question, answer in rng.sample(general_facts(), OTHER_TASKS)]
    return {
        "id": f"demo-{fact.relation}-{fact.subject}".lower().replace(" ", "-"),
        "prompt": prompt,
        "subject": fact.subject,
        "target_new": target_new,
        "target_true": fact.object,
        "rephrases": list(world.held_out(fact.subject, fact.relation)),
        "locality": {
            "neighbour": neighbour,
            "other_attribution": rng.sample(others, min(OTHER_ATTRIBUTIONS, len(others))),
            "distract_neighbour": [{**p, "prompt": f"{statement} {p['prompt']}"} for p in neighbour[:DISTRACTED]],
            "other_task": tasks,
        },
        "portability": {
            "alias": _alias(world, new, fact.object, seed),
            "one_hop": _one_hop(world, new, seed),
            "inverse": _inverse(world, new, seed),
        },
    }


def _probe(world: World, fact: Fact, seed: int) -> Probe:
    return {"prompt": edit_prompt(world, fact, seed).replace("{}", fact.subject), "target": fact.object}


def _neighbours(world: World, fact: Fact, seed: int, alike: Alike) -> list[Probe]:
    """Other subjects of which the same is true; a relation that is one to one has none."""
    same = [f for f in alike[fact.relation, fact.object] if f != fact]
    world.draw("neighbours", str(seed), fact.subject, fact.relation).shuffle(same)
    return [_probe(world, f, seed) for f in same[:NEIGHBOURS]]


def _alias(world: World, new: Fact, old: str, seed: int) -> list[Probe]:
    """The new fact, asked of the alias of the subject; the old one is known under it."""
    if new.subject not in world.aliases:
        return []
    prompt = edit_prompt(world, new, seed).replace("{}", world.aliases[new.subject])
    return [_resting({"prompt": prompt, "target": new.object}, {"prompt": prompt, "target": old})]


def _one_hop(world: World, new: Fact, seed: int) -> list[Probe]:
    """The consequence of the new object by one more known fact."""
    probes = []
    for hop in TWO_HOPS:
        if hop.first == new.relation and (new.object, hop.second) in world.objects:
            template = world.draw("hop", str(seed), hop.name, new.subject).choice(hop.templates)
            second = Fact(new.object, hop.second, world.objects[new.object, hop.second])
            probe = {"prompt": template.replace("{}", new.subject), "target": second.object}
            probes.append(_resting(probe, _probe(world, second, seed)))
    return probes


def _inverse(world: World, new: Fact, seed: int) -> list[Probe]:
    """The new fact, asked of the new object, of which the relation is known as it was."""
    inverse = RELATIONS[new.relation].inverse
    if inverse is None:
        return []
    probe = _probe(world, Fact(new.object, inverse, new.subject), seed)
    return [_resting(probe, {**probe, "target": world.objects[new.object, inverse]})]


def _resting(probe: Probe, condition: Probe) -> Probe:
    return {**probe, "conditions": [condition]}
