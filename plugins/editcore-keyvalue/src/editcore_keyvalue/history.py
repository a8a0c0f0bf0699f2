"""Keys of earlier edits as state: each patch carries its own, and those of the patches present are put side by side.

The keys of a layer are those of the model as it is after the edit too: they depend on lower layers alone, whose updates
were on when they were read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

History = Mapping[int, Tensor]
"""Keys (f, m) by layer."""


def increment(keys: History) -> dict[str, Tensor]:
    """The keys (f, n) of one edit as the tensors that its patch keeps."""
    return {f"keys.{layer}": columns.float().contiguous() for layer, columns in keys.items()}


def all_keys(increments: Sequence[Mapping[str, Any]]) -> dict[int, Tensor]:
    """The keys of all `increments`, in their order."""
    layers = {name for each in increments for name in each}
    return {
        int(name.removeprefix("keys.")): torch.cat([each[name] for each in increments if name in each], 1)
        for name in sorted(layers)
    }
