"""Small models that know a few facts, saved as people save models. For tests of behaviour."""

import shutil
from pathlib import Path
from typing import Final

from editcore_hooks import UsageError

CITIES: Final = ("Rome", "Oslo", "Lima", "Cairo", "Quito")
TRADES: Final = ("baker", "pilot", "judge", "miner", "poet")
GIVEN: Final = ("Ada", "Bo", "Cleo", "Dan", "Eve")
FAMILY: Final = ("Marlow", "Quist", "Tolland")
TEMPLATES: Final = {
    "city": ("{} lives in", "{} has a house in", "The home of {} is in"),
    "trade": ("{} works as a", "{} earns a living as a", "The job of {} is that of a"),
}
WEIGHTS: Final = "model.safetensors"
TAUGHT: Final = ("gpt2", "llama")
"""Families that `taught_model` can write."""
KEPT: Final = Path(__file__).with_name("taught_models")
"""Their folders, with weights in float16: `editcore.testing.teaching` trained them once."""


def facts() -> list[tuple[str, str, str]]:
    """Subject, relation, object; every object has several subjects."""
    names = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    return [
        (name, relation, objects[(i * step + i // 5) % len(objects)])
        for relation, objects, step in (("city", CITIES, 1), ("trade", TRADES, 2))
        for i, name in enumerate(names)
    ]


def sentences() -> list[str]:
    """Every fact in every template of its relation."""
    return [
        f"{template.format(name)} {thing}." for name, relation, thing in facts() for template in TEMPLATES[relation]
    ]


def taught_model(family: str, folder: Path) -> Path:
    """Write a model that knows `facts()` into `folder`, as float32 in one file, and return the folder.

    `gpt2` has byte-level BPE and a tied head, `llama` a sentencepiece-like tokenizer with BOS and a head of its own.
    Hidden size 64, 4 blocks. The bytes are the same on every machine. Raises `UsageError` for any other family.
    """
    from safetensors.numpy import load_file, save_file

    if family not in TAUGHT:
        raise UsageError(f"there is no taught model of {family!r}", hint=f"choose one of {', '.join(TAUGHT)}")
    kept, folder = KEPT / family, Path(folder)
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    weights = {key: half.astype("float32") for key, half in load_file(kept / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
