"""The editors: one net for all matrices of one shape, with a scale and a shift for each of them.

z = [(u − μ_u)/σ_u ; (δ − μ_δ)/σ_δ]                            d = d_in + d_out
h ← h + max(0, s ⊙ (U V h + b) + o), for each block             V (r, d) random, U (d, r) zero, s 1, o and b 0
[ũ ; δ̃] = h                                                     ΔW = −η Σ_t δ̃_t ũ_tᵀ

With U zero a net is the identity at first, so that the first edits are steps of normalised gradients. The rectifier has
the derivative 1 at 0: all its inputs are 0 at first, and a derivative of 0 would end the training before it began.
Mitchell et al. 2022 (arXiv:2110.11309), section 3.2. Theirs begins with +η; a step down the gradient is nearer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from editcore_hooks import EditcoreError, Site

TINY: Final = 1e-7


def rectified(x: Tensor) -> Tensor:
    """max(0, x) with the derivative 1 at 0; that of `clamp` there is 1 up to torch 2.13 and 0 from 2.14 on."""
    return torch.where(x < 0, 0, x)


class Normaliser(nn.Module):
    """Mean and standard deviation of each entry, collected once before the training and never changed at an edit."""

    mean: Tensor
    std: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def collect(self, values: Tensor) -> None:
        """Take the statistics of `values` (N, width), in float64. Raises `EditcoreError` for fewer than two rows."""
        if len(values) < 2:
            raise EditcoreError(
                f"{len(values)} tokens with a gradient are too few for statistics", hint="train on more cases"
            )
        wide = values.double()
        self.mean.copy_(wide.mean(0))
        self.std.copy_(wide.std(0))
        self.count.fill_(len(values))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / (self.std + TINY)


class Net(nn.Module):
    """The net of one shape, for `slots` matrices."""

    def __init__(self, d_in: int, d_out: int, slots: int, rank: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        d = d_in + d_out
        r = min(rank, d)
        self.d_in = d_in
        self.normaliser = Normaliser(d)
        self.v = nn.Parameter(torch.randn(blocks, r, d, generator=generator) / d**0.5)
        self.u = nn.Parameter(torch.zeros(blocks, d, r))
        self.bias = nn.Parameter(torch.zeros(blocks, d))
        self.scale = nn.Parameter(torch.ones(blocks, slots, d))
        self.shift = nn.Parameter(torch.zeros(blocks, slots, d))

    def forward(self, u: Tensor, delta: Tensor, slot: int | Tensor) -> tuple[Tensor, Tensor]:
        """ũ (..., d_in) and δ̃ (..., d_out) of u and δ of such shapes; `slot` is one for all, or one for each row."""
        h = self.normaliser(torch.cat([u, delta], -1))
        for k in range(len(self.v)):
            inner = h @ self.v[k].T @ self.u[k].T + self.bias[k]
            h = h + rectified(self.scale[k, slot] * inner + self.shift[k, slot])
        return h[..., : self.d_in], h[..., self.d_in :]


class Editors(nn.Module):
    """The nets of all sites, by shape, and a step size η for each site: `edit_lr` times what is learnt."""

    def __init__(
        self, shapes: Mapping[Site, tuple[int, int]], rank: int, blocks: int, edit_lr: float, seed: int = 0
    ) -> None:
        super().__init__()
        self.sites = list(shapes)
        self.edit_lr = edit_lr
        groups: dict[tuple[int, int], list[Site]] = {}
        for site, shape in shapes.items():
            groups.setdefault(shape, []).append(site)
        drawn = torch.Generator().manual_seed(seed)
        self.nets = nn.ModuleDict(
            {_name(shape): Net(shape[1], shape[0], len(sites), rank, blocks, drawn) for shape, sites in groups.items()}
        )
        self.place = {site: (_name(shape), slot) for shape, sites in groups.items() for slot, site in enumerate(sites)}
        self.step = nn.Parameter(torch.ones(len(shapes)))

    def net(self, site: Site) -> Net:
        """The net of the site's shape."""
        net = self.nets[self.place[site][0]]
        assert isinstance(net, Net)
        return net

    def transformed(self, site: Site, u: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """ũ and δ̃."""
        return self.net(site)(u, delta, self.place[site][1])  # type: ignore[no-any-return]

    def step_size(self, site: Site) -> Tensor:
        """η of the site."""
        return self.edit_lr * self.step[self.sites.index(site)]

    def forward(self, site: Site, u: Tensor, delta: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """−η δ̃ (..., N, d_out) and ũ (..., N, d_in); zero for tokens that are not `kept` (..., N)."""
        new_u, new_delta = self.transformed(site, u, delta)
        mask = kept[..., None]
        return -self.step_size(site) * new_delta * mask, new_u * mask

    def patch(self, found: Mapping[Site, tuple[Tensor, Tensor]]) -> dict[Site, tuple[Tensor, Tensor]]:
        """−η δ̃ (N, d_out) and ũ (N, d_in) of u and δ of every site, the sites of one shape in one go."""
        patch: dict[Site, tuple[Tensor, Tensor]] = {}
        for name, net in self.nets.items():
            own = [site for site in found if self.place[site][0] == name]
            if not own:
                continue
            counts = [len(found[site][0]) for site in own]
            slots = torch.tensor([self.place[site][1] for site in own]).repeat_interleave(torch.tensor(counts))
            joined = [torch.cat([found[site][i] for site in own]) for i in (0, 1)]
            new_u, new_delta = net(*joined, slots.to(joined[0].device))
            parts = zip(own, new_delta.split(counts), new_u.split(counts), strict=True)
            patch |= {site: (-self.step_size(site) * out, in_) for site, out, in_ in parts}
        return patch

    def collect(self, samples: Sequence[Mapping[Site, tuple[Tensor, Tensor]]]) -> None:
        """Take the statistics of the inputs from u and δ of many requests by site; those of one shape together."""
        for name, net in self.nets.items():
            assert isinstance(net, Net)
            own = [site for site, (group, _) in self.place.items() if group == name]
            net.normaliser.collect(
                torch.cat([torch.cat(sample[site], -1) for sample in samples for site in own if site in sample])
            )


def _name(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def settings_of(sites: Sequence[Site], **more: Any) -> dict[str, Any]:
    """What an asset says of its nets, as JSON values; `sites_of` reads the sites back."""
    return {"sites": [[site.role, site.layer, site.stack] for site in sites], **more}


def sites_of(settings: Mapping[str, Any]) -> tuple[Site, ...]:
    """The sites of a trained editor."""
    return tuple(Site(role, layer, stack) for role, layer, stack in settings["sites"])
