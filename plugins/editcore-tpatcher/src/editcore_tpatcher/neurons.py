"""Neurons in training. Their values are a ∘ w, with a and w trained; their keys begin at the mistakes themselves.

plain   act(k · x + b) v            k = q / ‖q‖², b = 0, so that k · q + b = 1
gated   act(g · x + b) (k · x) v    g = k = q / ‖q‖²
"""

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Mlp, neurons
from editcore.authoring.patches import Units
from editcore_tpatcher.hparams import TPatcherHparams


@frozen(eq=False)
class Neurons:
    """n neurons as leaves: `keys`, `values`, `amplifiers` and `gate` (n, d), `biases` (n,); float32."""

    mlp: Mlp
    keys: Tensor
    biases: Tensor
    values: Tensor
    amplifiers: Tensor
    gate: Tensor | None

    @classmethod
    def at(cls, mlp: Mlp, queries: Tensor, hparams: TPatcherHparams, generator: torch.Generator) -> "Neurons":
        """Neurons that fire at the queries (n, d) with a pre-activation of 1."""
        keys = queries / queries.square().sum(-1, keepdim=True)
        noise = torch.randn(queries.shape, generator=generator).to(queries.device)
        return cls(
            mlp,
            keys.clone().requires_grad_(),
            torch.zeros(len(keys), device=keys.device).requires_grad_(),
            (hparams.value_init * noise).requires_grad_(),
            torch.full_like(keys, hparams.amplifier).requires_grad_(),
            keys.clone().requires_grad_() if mlp.gated else None,
        )

    @property
    def leaves(self) -> list[Tensor]:
        every = [self.keys, self.biases, self.values, self.amplifiers]
        return every if self.gate is None else [*every, self.gate]

    def before(self, x: Tensor) -> Tensor:
        """Pre-activations (..., n) at states (..., d)."""
        return x @ (self.keys if self.gate is None else self.gate).T + self.biases

    def added(self, x: Tensor) -> Tensor:
        """What the neurons add to the output of the MLP at states (..., d), (..., d)."""
        values = self.amplifiers * self.values
        return neurons(self.mlp.activation, self.keys, values, self.biases, self.gate)(x)

    def units(self) -> Units:
        """The neurons as a patch has them."""
        keys, biases, values, amplifiers = (leaf.detach().cpu().clone() for leaf in self.leaves[:4])
        gate = None if self.gate is None else self.gate.detach().cpu().clone()
        return Units(keys, amplifiers * values, biases, gate)
