"""The invented world: a seeded generator of entities, facts, sentences and edit cases, in plain Python."""

from editcore_demo.world.making import SEED, make_world
from editcore_demo.world.model import Fact, World

__all__ = ["SEED", "Fact", "World", "make_world"]
