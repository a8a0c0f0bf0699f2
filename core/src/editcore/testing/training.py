"""Short trainings of methods that have something to train, on the facts of a taught model."""

from pathlib import Path
from typing import Any, Final

from editcore.assets.store import AssetStore
from editcore.editing.prepared import EditOptions
from editcore.facade import Session, open_model
from editcore.testing.taught import CITIES, TEMPLATES, TRADES, facts
from editcore.training.train import train
from editcore_hooks import Asset, Case, EditRequest, Probe

PLAN: Final[dict[str, Any]] = {"steps": 4, "batch": 4, "validation": 4, "every": 4, "warmup": 0}


def taught_cases() -> list[Case]:
    """Every fact of the taught models with the next object as its target, and another fact to leave alone."""
    known = facts()
    return [_case(i, *known[i], *known[(i + 7) % len(known)]) for i in range(len(known))]


def _case(i: int, name: str, relation: str, thing: str, other: str, its_relation: str, its_thing: str) -> Case:
    objects = CITIES if relation == "city" else TRADES
    target = objects[(objects.index(thing) + 1) % len(objects)]
    templates = TEMPLATES[relation]
    return Case(
        EditRequest(templates[0], name, target, thing, id=str(i)),
        rephrases=tuple(template.format(name) for template in templates[1:]),
        locality={"neighbour": (Probe(TEMPLATES[its_relation][0].format(other), (its_thing,)),)},
    )


def shortly_trained(session: Session, method: str, plan: dict[str, Any] | None = None, **settings: Any) -> Asset:
    """The asset of a training of a few steps on `taught_cases`, with settings of the method and of the plan."""
    options = EditOptions(method, tune=False, hparams=(("test", settings),))
    return train(session, taught_cases(), options, {**PLAN, **(plan or {})})


def opened(folder: Path, assets: Path, **options: Any) -> Session:
    """The model of a folder, with assets in a folder of its own."""
    return open_model(folder, assets=AssetStore(assets), **options)
