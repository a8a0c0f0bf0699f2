"""Weights that accelerate keeps off the device, in memory or on disk, and fetches for the length of a call.

Such a parameter has no values (`meta`); a hook on its module knows where they are. On disk they are in the checkpoint's
own files, which are the base: a change is therefore laid over them in memory, and taking it away bares the file again.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor, nn

from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@frozen(eq=False)
class Resident:
    """The values of a parameter that is on a device. `keep` and `put_back` restore bits."""

    parameter: nn.Parameter

    def read(self) -> Tensor:
        """The values themselves, without gradient."""
        return self.parameter.detach()

    def write(self, value: Tensor) -> None:
        """Change the parameter to `value`, in its own dtype."""
        with torch.no_grad():
            self.parameter.copy_(value)

    def keep(self) -> Any:
        return self.parameter.detach().clone()

    def put_back(self, kept: Any) -> None:
        self.write(kept)


@frozen(eq=False)
class Offloaded:
    """The values of a parameter, and of those tied to it, that are fetched by `keys` of accelerate's `store`."""

    store: Any
    keys: tuple[str, ...]
    dtype: torch.dtype

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for names that are stored as one tensor."""
        if self.keys[0] in self._memory:
            return ("memory", self._memory[self.keys[0]].data_ptr())
        entry = getattr(self.store, "index", {}).get(self.keys[0], {})
        return ("disk", entry.get("safetensors_file"), entry.get("weight_name", self.keys[0]))

    def read(self) -> Tensor:
        """A copy, fetched."""
        value: Tensor = self.store[self.keys[0]]
        return value.detach().clone()

    def write(self, value: Tensor) -> None:
        """Lay `value` over what is kept; no file is changed."""
        laid = value.detach().to(device="cpu", dtype=self.dtype, copy=True)
        for key in self.keys:
            self._memory[key] = laid

    def keep(self) -> Any:
        return [self._memory.get(key) for key in self.keys]

    def put_back(self, kept: Any) -> None:
        for key, value in zip(self.keys, kept, strict=True):
            if value is None:
                self._memory.pop(key, None)  # the file's own
            else:
                self._memory[key] = value

    @property
    def _memory(self) -> MutableMapping[str, Tensor]:
        memory: MutableMapping[str, Tensor] = getattr(self.store, "state_dict", self.store)
        return memory


Values = Resident | Offloaded


def values_of(model: "PreTrainedModel", names: Sequence[str]) -> Values:
    """The values of a parameter, the first of `names`; the others are tied to it. Raises `UsageError`."""
    parameter = model.get_parameter(names[0])
    if not parameter.is_meta:
        return Resident(parameter)
    places = [place for name in names if (place := _place(model, name)) is not None]
    if not places:
        hint = "load the model on one device, or with device_map through accelerate"
        raise UsageError(f"{names[0]} is offloaded to an unknown place", hint=hint)
    return Offloaded(places[0][0], tuple(key for _, key in places), parameter.dtype)


def identity(model: "PreTrainedModel", name: str, parameter: nn.Parameter) -> Any:
    """Something that is equal for names of one and the same tensor, and for no others."""
    place = _place(model, name) if parameter.is_meta else None
    return id(parameter) if place is None else Offloaded(place[0], (place[1],), parameter.dtype).identity


def device_of(model: "PreTrainedModel") -> torch.device:
    """The device of inputs and logits: the accelerator if a model is partly offloaded, else that of the weights."""
    for device in getattr(model, "hf_device_map", {}).values():
        if device not in ("cpu", "disk"):
            return torch.device(device)
    first = torch.device(model.device)
    return torch.device("cpu") if first.type == "meta" else first


def _place(model: nn.Module, name: str) -> tuple[Any, str] | None:
    """Store and key of an offloaded parameter: the nearest hook above it that fetches weights."""
    parts = name.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        for hook in _hooks(model.get_submodule(".".join(parts[:depth]))):
            own = depth == len(parts) - 1 or getattr(hook, "place_submodules", False)
            if own and getattr(hook, "offload", False) and hook.weights_map is not None:
                store, key = hook.weights_map, ".".join(parts[depth:])
                while hasattr(store, "prefix"):
                    store, key = store.dataset, f"{store.prefix}{key}"
                return store, key
    return None


def _hooks(module: nn.Module) -> Iterator[Any]:
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", () if hook is None else (hook,))
