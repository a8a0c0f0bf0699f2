"""The hypernetwork: what it reads of a request, and how it shapes the gradient of each matrix.

h = tanh(P [LSTM→ ; LSTM←])                     of "old answer >> new answer || prompt", in the model's own embeddings
c₁, r₁, c₂, r₂, η = head(h)                      for each matrix W (d_out, d_in)
ΔW = s σ(η) (∇W ∘ softmax(r₁) c₁ᵀ + softmax(r₂) c₂ᵀ)

With ∇W = Gᵀ U of the tokens' gradients G (N, d_out) and inputs U (N, d_in), the product is Diag(softmax r₁) Gᵀ U
Diag(c₁): the change has a rank of at most N + 1, and is kept as factors. De Cao et al. 2021 (arXiv:2104.08164),
section 4. Theirs trains a copy of the embeddings; these are the model's, and not part of the editor.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from editcore_hooks import Site


class Head(nn.Module):
    """The shaping of one matrix."""

    def __init__(self, condition: int, width: int, d_out: int, d_in: int) -> None:
        super().__init__()
        self.sizes = (d_in, d_out, d_in, d_out, 1)
        self.inner = weight_norm(nn.Linear(condition, width))
        self.outer = weight_norm(nn.Linear(width, sum(self.sizes)))

    def forward(self, h: Tensor) -> tuple[Tensor, ...]:
        """c₁ (E, d_in), softmax r₁ (E, d_out), c₂ (E, d_in), softmax r₂ (E, d_out), σ(η) (E, 1)."""
        c1, r1, c2, r2, eta = self.outer(self.inner(h).tanh()).split(self.sizes, -1)
        return c1, r1.softmax(-1), c2, r2.softmax(-1), eta.sigmoid()


class Hypernetwork(nn.Module):
    """`multiplier` and `margin` of the constraint are kept with the nets, so that a training can be resumed."""

    margin: Tensor

    def __init__(
        self,
        shapes: Mapping[Site, tuple[int, int]],
        width: int,
        hidden: int,
        condition: int,
        head: int,
        scale: float,
        margin: float,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sites = list(shapes)
        self.scale = scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
            self.condition = nn.Linear(2 * hidden, condition)
            self.heads = nn.ModuleList(Head(condition, head, *shape) for shape in shapes.values())
        self.multiplier = nn.Parameter(torch.ones(()))
        self.register_buffer("margin", torch.tensor(margin))

    def read(self, rows: Sequence[Tensor]) -> Tensor:
        """h (E, condition) of the embeddings (T, width) of each text."""
        lengths = torch.tensor([len(row) for row in rows])
        padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        packed = pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)  # (2, E, hidden)
        return torch.tanh(self.condition(torch.cat([last[0], last[1]], -1)))

    def shaped(self, site: Site, h: Tensor, u: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """`out` (E, d_out, N + 1) and `in_` (E, N + 1, d_in) of E edits from u (E, N, d_in) and δ (E, N, d_out)."""
        c1, r1, c2, r2, eta = self.heads[self.sites.index(site)](h)
        rows = torch.cat([delta * r1[:, None], r2[:, None]], 1)  # (E, N + 1, d_out)
        columns = torch.cat([u * c1[:, None], c2[:, None]], 1)  # (E, N + 1, d_in)
        return (self.scale * eta[..., None] * rows).mT, columns
