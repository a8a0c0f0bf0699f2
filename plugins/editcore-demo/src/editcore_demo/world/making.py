"""Making the world from a seed."""

import random
from collections.abc import Sequence

from editcore_demo.world import names
from editcore_demo.world import vocabulary as v
from editcore_demo.world.model import World
from editcore_demo.world.relations import PERSONAL, RELATIONS

SEED = 2026
PEOPLE = 280
COUPLES = 70
WORKS = 140
AUTHORS = 35
ALIASES = 90


def make_world(seed: int = SEED) -> World:
    """The same seed gives the same world, on every machine and Python version."""
    rng = random.Random(f"world/{seed}")
    people = names.people(rng, PEOPLE)
    works = names.titles(rng, WORKS)
    entities = {
        "person": people, "work": works, "city": v.CITIES, "country": v.COUNTRIES, "company": v.COMPANIES,
        "profession": v.PROFESSIONS, "language": v.LANGUAGES, "instrument": v.INSTRUMENTS, "dish": v.DISHES,
        "genre": v.GENRES, "currency": v.CURRENCIES, "product": v.PRODUCTS,
    }  # fmt: skip
    objects: dict[tuple[str, str], str] = {}

    def state(relation: str, subjects: Sequence[str], values: Sequence[str]) -> None:
        objects.update({(s, relation): o for s, o in zip(subjects, _balanced(rng, values, len(subjects)), strict=True)})

    for relation in PERSONAL:
        state(relation, people, entities[RELATIONS[relation].object_kind])
    for one, other in _couples(rng, people):
        objects[one, "spouse"], objects[other, "spouse"] = other, one
    state("author", works, rng.sample(people, AUTHORS))
    state("genre", works, v.GENRES)
    state("written_in", works, v.LANGUAGES)
    state("country", v.CITIES, v.COUNTRIES)
    for country in v.COUNTRIES:
        capital = rng.choice([c for c in v.CITIES if objects[c, "country"] == country])
        objects[country, "capital"], objects[capital, "capital_of"] = capital, country
    state("language", v.COUNTRIES, rng.sample(v.LANGUAGES, 6))
    state("currency", v.COUNTRIES, v.CURRENCIES)
    state("seat", v.COMPANIES, rng.sample(v.CITIES, 15))
    state("product", v.COMPANIES, v.PRODUCTS)
    for company, founder in zip(v.COMPANIES, rng.sample(people, len(v.COMPANIES)), strict=True):
        objects[company, "founder"], objects[founder, "founded"] = founder, company

    bearers = rng.sample(people, ALIASES)
    aliases = dict(zip(bearers, names.nicknames(rng, ALIASES), strict=True))
    return World(seed, entities, objects, aliases)


def _balanced(rng: random.Random, values: Sequence[str], n: int) -> list[str]:
    drawn = [values[i % len(values)] for i in range(n)]
    rng.shuffle(drawn)
    return drawn


def _couples(rng: random.Random, people: Sequence[str]) -> list[tuple[str, str]]:
    chosen = rng.sample(people, 2 * COUPLES)
    return list(zip(chosen[:COUPLES], chosen[COUPLES:], strict=True))
