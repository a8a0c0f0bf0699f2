"""The directions that ordinary keys hardly use: eigenvectors of C with small eigenvalues, and the projector onto them.

All eigenvectors are kept, beside the second moment that they are of: a threshold can then be tried for nothing. Fang
et al. 2025 (AlphaEdit), section 3.2.
"""

from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.assets import Identity
from editcore_hooks import Asset, UsageError
from editcore_keyvalue.statistic import KEYS, Statistic
from editcore_keyvalue.store import OWNER

if TYPE_CHECKING:
    from editcore_hooks import Session

KIND: Final = "eigenbasis"


@frozen(eq=False)
class NullSpace:
    """P onto `free` of f directions. `basis` (f, r) spans them or, with `complement`, the others, whichever is less."""

    basis: Tensor
    complement: bool
    free: int

    def apply(self, columns: Tensor) -> Tensor:
        """P x for the columns of (f, n)."""
        basis = self.basis.to(columns.device, columns.dtype)
        along = basis @ (basis.T @ columns)
        return columns - along if self.complement else along


@frozen(eq=False)
class Eigenbasis:
    """C = V diag(λ) Vᵀ: `values` (f,) ascending, `vectors` (f, f) with an eigenvector a column, float32."""

    values: Tensor
    vectors: Tensor

    def below(self, threshold: float) -> NullSpace:
        """The directions whose eigenvalue is below `threshold`. Raises `UsageError` when there is none."""
        return self.smallest(int((self.values < threshold).sum()))

    def smallest(self, free: int) -> NullSpace:
        """The `free` directions with the smallest eigenvalues. Raises `UsageError` for none."""
        f = len(self.values)
        if not 0 < free <= f:
            message = "no direction of the keys is free: ordinary text uses all of them more than the threshold"
            raise UsageError(message, hint="raise nullspace_threshold, or pass --set nullspace_share=0.7")
        if free > f // 2:
            return NullSpace(self.vectors[:, free:], True, free)
        return NullSpace(self.vectors[:, :free], False, free)


def eigenbasis(
    session: "Session", layer: int, mean: Tensor, moment: Asset, statistic: Statistic = KEYS
) -> tuple[Eigenbasis, Asset]:
    """The eigenvectors of the second moment `mean` (f, f) of a layer, from the store or computed now and kept."""
    key = ("eigenbasis", moment.sha256)
    return session.cached(key, lambda: _eigenbasis(session, layer, mean, moment, statistic), base=True)


def _eigenbasis(
    session: "Session", layer: int, mean: Tensor, moment: Asset, statistic: Statistic
) -> tuple[Eigenbasis, Asset]:
    identity = Identity(KIND, OWNER, session.weights_root, {"layer": layer, "of": moment.sha256})
    asset = session.assets.find(identity)
    if asset is None:
        session.say(f"finding the free directions of the {statistic.of} of layer {layer}; kept for the next edit")
        with session.assets.lock(identity):
            values, vectors = torch.linalg.eigh(mean.to(session.device).double())
            kept = {"values": values.float(), "vectors": vectors.float()}
            asset = session.assets.find(identity) or session.assets.put(identity, kept)
    tensors = session.assets.load(asset)
    return Eigenbasis(tensors["values"], tensors["vectors"]), asset
