"""The state of a training as tensors by name, and back: nets, the best nets so far, and the optimiser."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

NOW, BEST, OPTIMIZER = "now/", "best/", "optimizer/"


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def to_tensors(module: nn.Module, best: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All of it under one name each."""
    found = {f"{NOW}{name}": value for name, value in state_of(module).items()}
    found |= {f"{BEST}{name}": value for name, value in best.items()}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            found[f"{OPTIMIZER}{number}/{name}"] = torch.as_tensor(value).detach().cpu().clone()
    return found


def restore(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put the state into module and optimiser, and return the best one."""
    module.load_state_dict(_under(tensors, NOW))
    state: dict[int, dict[str, Any]] = {}
    for name, value in _under(tensors, OPTIMIZER).items():
        number, _, key = name.partition("/")
        state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return _under(tensors, BEST)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
