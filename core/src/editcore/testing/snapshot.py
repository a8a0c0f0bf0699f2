"""A model as it is, to the bit, for tests that it stays so. Made apart from the host's own check, on purpose."""

import random
from collections.abc import Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

_TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


@frozen(eq=False)
class Snapshot:
    """Copies of all parameters and buffers, and for every module and parameter what may be switched on it."""

    tensors: Mapping[str, Tensor]
    switches: Mapping[str, Any]

    @classmethod
    def of(cls, model: nn.Module) -> "Snapshot":
        tensors = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
        switches: dict[str, Any] = {}
        for name, module in model.named_modules():
            switches[f"mode of {name or 'the model'}"] = module.training
            for table in _TABLES:
                switches[f"{table[1:]} of {name or 'the model'}"] = tuple(getattr(module, table))
            if "forward" in vars(module):
                switches[f"replaced forward of {name or 'the model'}"] = id(vars(module)["forward"])
        for name, parameter in model.named_parameters():
            switches[f"requires_grad of {name}"] = parameter.requires_grad
            switches[f"gradient of {name}"] = parameter.grad is not None
        config = getattr(model, "config", None)
        if config is not None:
            switches["the configuration"] = config.to_dict()
        return cls(tensors, switches)

    def changes(self, later: "Snapshot") -> list[str]:
        """The differences in words; empty if there are none."""
        names = sorted(self.tensors.keys() | later.tensors.keys())
        changed = [
            f"the weights of {name}" for name in names if not _same(self.tensors.get(name), later.tensors.get(name))
        ]
        switches = sorted(self.switches.keys() | later.switches.keys())
        return changed + [name for name in switches if self.switches.get(name) != later.switches.get(name)]


def random_states() -> tuple[Any, ...]:
    """The states of the generators that a method may reach for: Python's, NumPy's, torch's."""
    import numpy

    state: Any = numpy.random.get_state(legacy=True)
    kind, keys, *rest = state
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    torches = tuple(bytes(state.tolist()) for state in (torch.get_rng_state(), *cuda))
    return random.getstate(), kind, keys.tobytes(), tuple(rest), torches


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    # as bytes: a NaN equals itself, and −0 is not 0
    return torch.equal(*(tensor.cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))
