"""The fingerprint of a prompt: which columns of the memory it uses.

φ = x − μ, x the input of the matrix at the prompt, μ its mean over unrelated prompts
m = π(the k largest |φⱼ|), as a row of zeros and ones
"""

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Seen
from editcore.authoring.models import Tap, Trace, target_logits
from editcore_hooks import Site
from editcore_keyvalue.unrelated import unrelated

if TYPE_CHECKING:
    from editcore_hooks import Session

Token = Literal["last", "mean"]
ROWS: Final = 32
"""Most prompts that are read in one forward."""


@frozen(eq=False)
class Hash:
    """How prompts become masks at a site: the token, μ (d_in,) float32, the seed of π, and k."""

    token: Token
    mean: Tensor
    permutation: int
    active: int

    @property
    def same(self) -> tuple[Token, bytes, int, int]:
        """Equal for two that give equal masks."""
        return self.token, self.mean.numpy().tobytes(), self.permutation, self.active

    def masks(self, features: Tensor) -> Tensor:
        """m of n features (n, d_in), on their device; (n, d_in) bool."""
        centred = features.float() - self.mean.to(features.device)  # φ
        largest = centred.abs().topk(self.active, dim=-1).indices  # (n, k)
        order = torch.tensor(permutation(features.shape[-1], self.permutation), device=features.device)  # π
        masks = torch.zeros(features.shape, dtype=torch.bool, device=features.device)
        return masks.scatter(-1, order[largest], True)


def features_of(seen: Seen, token: Token) -> Tensor:
    """x of each row (B, d_in) float32: the input at the prompt's last token, or the mean over the prompt."""
    inputs = seen.inputs.float()
    return seen.at_last(inputs) if token == "last" else seen.mean(inputs)


@lru_cache(maxsize=8)
def permutation(n: int, seed: int) -> tuple[int, ...]:
    """A permutation of n columns, the same for ever: `random.random` is the one generator whose row Python promises."""
    draw = random.Random(seed).random
    keys = [draw() for _ in range(n)]
    return tuple(sorted(range(n), key=keys.__getitem__))


def overlaps(one: Tensor, other: Tensor, active: int) -> Tensor:
    """|m ∧ m'| / k of masks (n, d) and (N, d), (n, N). Sums of ones are exact."""
    return one.float() @ other.float().T / active


def background(session: "Session", site: Site, token: Token, count: int) -> Tensor:
    """x of at most `count` unrelated prompts on the unedited model, (n, d_in)."""

    def make() -> Tensor:
        with session.at_base():
            return read(session, site, unrelated(session, count), token)

    found: Tensor = session.cached(("memoir", session.seed, site, token, count), make, base=True)
    return found


@torch.no_grad()
def read(session: "Session", site: Site, prompts: Sequence[Sequence[int]], token: Token) -> Tensor:
    """x of prompts, (n, d_in), on the model as it is. With an encoder they are what it reads."""
    found = []
    for start in range(0, len(prompts), ROWS):
        some = prompts[start : start + ROWS]
        with Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
            target_logits(session.model, [(prompt, (0,)) for prompt in some])  # one token of a target is not read
        inputs = trace.input(site)  # rows are padded on the right
        last = torch.tensor([len(prompt) - 1 for prompt in some], device=inputs.device)
        inside = torch.arange(inputs.shape[1], device=inputs.device) <= last[:, None]  # (n, S)
        found.append(features_of(Seen(inputs, inputs, inside, last), token))
    return torch.cat(found)


def pack(masks: Tensor) -> Tensor:
    """Eight columns a byte, the first the lowest bit: (N, d) bool as (N, ⌈d/8⌉) uint8."""
    n, d = masks.shape
    padded = torch.zeros(n, -(-d // 8) * 8, dtype=torch.uint8)
    padded[:, :d] = masks.cpu()
    bits = padded.reshape(n, -1, 8) << torch.arange(8, dtype=torch.uint8)
    return bits.sum(-1, dtype=torch.uint8)


def unpack(packed: Tensor, d: int) -> Tensor:
    """The masks (N, d) bool of `pack`."""
    bits = packed[..., None] >> torch.arange(8, dtype=torch.uint8) & 1
    return bits.reshape(len(packed), -1)[:, :d].bool()
