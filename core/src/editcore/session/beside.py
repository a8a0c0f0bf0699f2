"""Low-rank patches beside weights: y += left (right x), where a weight cannot be written, or is not to be.

A quantised model has no weight to add a delta to, and beside one the edit keeps the numbers of its factors, which its
few levels could not hold. What is compared with the base are the files of the base, as everywhere.
"""

from typing import Any

import torch
from attrs import define, field
from torch import nn

from editcore.models.anatomy.keys import PREFIXES
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.parameter_keys import counterpart
from editcore.models.anatomy.skeleton import skeleton
from editcore.models.anatomy.structure import is_transposed
from editcore.models.loading.offload import device_of
from editcore.models.running.side_branches import Branch, LowRankBranch
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.patches.forms.deltas import whole
from editcore.text.ids import short
from editcore_hooks import RefusedFileError, UsageError

_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@define(eq=False)
class Beside:
    """The targets of a patch that run beside their weight in a session, and how."""

    anatomy: Anatomy
    checkpoint: Checkpoint
    wanted: bool
    _writable: dict[str, bool] = field(factory=dict)
    _modules: Any = None

    def takes(self, patch: Patch, own: str, key: str) -> bool:
        """Whether the target `own` of a patch, the tensor `key` of the base, runs beside it."""
        if key not in self._writable:
            self._writable[key] = self._is_plain(key)
        wanted = self.wanted and patch.targets[own].form.factored
        return wanted or not self._writable[key]

    def branch(self, patch: Patch, own: str, key: str) -> Branch:
        """Raises `UsageError` for a form that is no product of factors and for a tensor that is no linear map's."""
        form = patch.targets[own].form
        if not form.factored:
            raise UsageError(
                f"{key} is quantised, and patch {short(patch.patch_id)} is {form.name} there: "
                "only low_rank runs beside quantised weights",
                hint="open the unquantised base",
            )
        if self._modules is None:
            self._modules = skeleton(self.checkpoint.folder)
        names = {f"{path}.weight" for path, _ in self._modules.named_modules()}
        path = counterpart(key, names, PREFIXES).removesuffix(".weight")
        described = self._modules.get_submodule(path)
        if not isinstance(described, nn.Linear) and not is_transposed(described):
            raise UsageError(
                f"{key} is the weight of {type(described).__name__}, but only linear maps have a branch",
                hint="open the base with its weights unquantised, on one device",
            )
        delta = whole(patch.deltas(own))
        left, right = delta.factors
        left = left * delta.scale
        # The file's orientation, which a quantised module need not share: GPT-2's [in, out] becomes [out, in] there.
        out, in_ = (right.T, left.T) if is_transposed(described) else (left, right)
        device, module = device_of(self.anatomy.model), self.anatomy.model.get_submodule(path)
        return Branch(module, module, LowRankBranch(out.to(device), in_.to(device)))

    def _is_plain(self, key: str) -> bool:
        """Whether a parameter holds the tensor of the files itself: no packed, integer or wrapped form of it."""
        try:
            parameter = self.anatomy.model.get_parameter(self.anatomy.parameter_of(key))
        except (RefusedFileError, AttributeError):  # quantised modules keep buffers of their own
            return False
        plain = type(parameter.data) is torch.Tensor and parameter.dtype in _PLAIN
        return plain and tuple(parameter.shape) == self.checkpoint.entries[key].shape
