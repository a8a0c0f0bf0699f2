"""A gate and its map. h is what the layer reads at one token.

gate              z(h) = log Σᵢ exp(kᵢ · h) + b, open where σ(z) ≥ ½, that is z ≥ 0; Defer has one key
defer             y = U D h + c
memory network    y = Σᵢ aᵢ vᵢ,  a = softmaxᵢ(kᵢ · h)
"""

from collections.abc import Mapping, Sequence

from attrs import frozen
from torch import Tensor

DEFER, NETWORK = "defer", "memory-network"
PARTS = {DEFER: ("keys", "bias", "down", "up", "constant"), NETWORK: ("keys", "bias", "values")}
"""The names of the tensors of each form."""


@frozen(eq=False)
class Side:
    """Tensors by name: `keys` (m, d_in) and `bias` (), and those of its form.

    Defer: `down` (r, d_in), `up` (d_out, r), `constant` (d_out,). Memory network: `values` (m, d_out).
    """

    form: str
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, form: str, tensors: Sequence[Tensor]) -> "Side":
        """With tensors in the order of `PARTS`."""
        return cls(form, dict(zip(PARTS[form], tensors, strict=True)))

    def gate(self, h: Tensor) -> Tensor:
        """z of states (..., d_in), (...)."""
        scores = h @ self.tensors["keys"].to(h).T  # (..., m)
        return scores.logsumexp(-1) + self.tensors["bias"].to(h)

    def __call__(self, h: Tensor) -> Tensor:
        """y of states (..., d_in), (..., d_out)."""
        parts = {name: tensor.to(h) for name, tensor in self.tensors.items()}
        if self.form == DEFER:
            return h @ parts["down"].T @ parts["up"].T + parts["constant"]
        share = (h @ parts["keys"].T).softmax(-1)  # (..., m)
        return share @ parts["values"]
