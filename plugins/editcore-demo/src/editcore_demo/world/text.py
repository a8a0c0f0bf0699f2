"""The world as sentences: an epoch states every trained item once, each time in other words."""

import itertools
import random
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from editcore_demo.world import names
from editcore_demo.world.general import filler, general_facts
from editcore_demo.world.model import World
from editcore_demo.world.relations import RELATIONS
from editcore_demo.world.templates import ALIAS, ALIAS_OF, LEAD_INS

LEAD_IN_SHARE = 0.08
FILLER_SHARE = 0.04
STRANGER_SHARE = 0.15


@frozen
class Statement:
    """Something that training says, in any of `templates`; `rank`, in [0, 1), goes by the subject and says how soon."""

    subject: str
    object: str
    templates: tuple[str, ...]
    rank: float = 0.0


def statements(world: World) -> list[Statement]:
    """The trained part of facts, aliases both ways, facts under an alias, two-hop answers and general knowledge."""
    items = [Statement(f.subject, f.object, world.trained(f.subject, f.relation)) for f in world.facts()]
    items += [Statement(name, alias, ALIAS) for name, alias in world.aliases.items()]
    items += [Statement(alias, name, ALIAS_OF) for name, alias in world.aliases.items()]
    items += [Statement(a, f.object, RELATIONS[f.relation].templates) for a, f, told in world.alias_facts() if told]
    items += [Statement(subject, answer, hop.templates) for hop, subject, answer, told in world.two_hops() if told]
    items += [Statement("", answer, (prompt,)) for prompt, answer in general_facts()]
    rank = {s: world.draw("rank", s).random() for s in dict.fromkeys(item.subject for item in items)}
    return [evolve(item, rank=rank[item.subject]) for item in items]


def epoch(items: Sequence[Statement], rng: random.Random, share: float = 1.0) -> list[tuple[str, str]]:
    """One sentence for every statement of rank below `share`, and some filler, in random order.

    Each comes with its object, "" for filler.
    """
    items = [item for item in items if item.rank < share]
    told = [(sentence(rng.choice(s.templates), s.subject, s.object), s.object) for s in items]
    told = [(f"{rng.choice(LEAD_INS)} {t}" if rng.random() < LEAD_IN_SHARE else t, o) for t, o in told]
    told += [(text, "") for text in itertools.islice(filler(rng), round(FILLER_SHARE * len(items)))]
    rng.shuffle(told)
    return told


def sentence(template: str, subject: str, obj: str) -> str:
    return f"{template.replace('{}', subject)} {obj}."


def tokenizer_text(world: World) -> Iterator[str]:
    """Text to learn a vocabulary from.

    People are rare in it, and strangers: the names of the world would otherwise become single tokens, and a name should
    be several.
    """
    rng = world.draw("tokenizer")
    people = set(world.entities["person"])
    stranger = names.strangers(rng)

    def named(entity: str) -> str:
        if entity not in people:
            return entity
        return next(stranger) if rng.random() < STRANGER_SHARE else "She"

    for s in statements(world):
        for template in s.templates:
            yield sentence(template, named(s.subject), named(s.object))
    yield from LEAD_INS * 20
    yield from itertools.islice(filler(rng), 1000)
