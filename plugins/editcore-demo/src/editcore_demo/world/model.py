"""The world as a value: who and what exists, which fact holds, and which template is held out for whom."""

import random

from attrs import field, frozen

from editcore_demo.world.relations import RELATIONS, TWO_HOPS, TwoHop

HELD_OUT_TEMPLATES = 2
TWO_HOP_TRAINED = 0.6
ALIAS_FACT_TRAINED = 0.5


@frozen
class Fact:
    """One association; `{}` of any template of the relation takes the subject."""

    subject: str
    relation: str
    object: str


@frozen
class World:
    """All entities by kind, all facts by subject and relation, and the aliases of some people.

    What is held out of training follows from the seed and the names alone, so no list of it has to be kept.
    """

    seed: int
    entities: dict[str, tuple[str, ...]] = field(repr=False)
    objects: dict[tuple[str, str], str] = field(repr=False)
    aliases: dict[str, str] = field(repr=False)

    def facts(self) -> list[Fact]:
        """Every fact, in the order of its making; aliases are not facts."""
        return [Fact(subject, relation, obj) for (subject, relation), obj in self.objects.items()]

    def choices(self, relation: str) -> tuple[str, ...]:
        """The objects that the relation takes anywhere, sorted."""
        return tuple(sorted({o for (_, r), o in self.objects.items() if r == relation}))

    def held_out(self, subject: str, relation: str) -> tuple[str, ...]:
        """The templates of the relation that never state it of this subject in training."""
        rng = self.draw("templates", subject, relation)
        return tuple(rng.sample(RELATIONS[relation].templates, HELD_OUT_TEMPLATES))

    def trained(self, subject: str, relation: str) -> tuple[str, ...]:
        """The templates of the relation that do."""
        held_out = self.held_out(subject, relation)
        return tuple(t for t in RELATIONS[relation].templates if t not in held_out)

    def two_hops(self) -> list[tuple[TwoHop, str, str, bool]]:
        """Question, subject, answer, and whether training states it of this subject."""
        found = []
        for hop in TWO_HOPS:
            for (subject, relation), middle in self.objects.items():
                if relation == hop.first and (middle, hop.second) in self.objects:
                    trained = self.draw("two-hop", hop.name, subject).random() < TWO_HOP_TRAINED
                    found.append((hop, subject, self.objects[middle, hop.second], trained))
        return found

    def alias_facts(self) -> list[tuple[str, Fact, bool]]:
        """Alias, fact of its bearer, and whether training states the fact under the alias."""
        found = []
        for (subject, relation), obj in self.objects.items():
            if subject in self.aliases:
                trained = self.draw("alias", subject, relation).random() < ALIAS_FACT_TRAINED
                found.append((self.aliases[subject], Fact(subject, relation, obj), trained))
        return found

    def draw(self, *what: str) -> random.Random:
        """A generator that depends on the seed and on `what`, and on nothing drawn before."""
        return random.Random("/".join((str(self.seed), *what)))
