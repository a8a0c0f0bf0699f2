"""A small model with real knowledge of an invented world, and the edit cases that test it.

Importing this package imports no torch.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["cases", "cases_path", "model_path", "neutral_path"]

_MODEL = Path(__file__).parent / "model"


def model_path() -> Path:
    """The folder of the GPT-2-shaped model, as `from_pretrained` takes it."""
    return _MODEL


def cases_path() -> Path:
    """The file of the bundled edit cases; the benchmark is the first 200 of them."""
    return _MODEL / "cases.jsonl"


def neutral_path() -> Path:
    """Neutral text of the demo's world, a passage a line: of plain English its model has never read a word."""
    return _MODEL.parent / "neutral.txt"


def cases(n: int | None = None, folder: Path = _MODEL) -> list[dict[str, Any]]:
    """The first `n` edit cases, or all, of the bundled model or of one that the training script made."""
    with (folder / "cases.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][:n]
