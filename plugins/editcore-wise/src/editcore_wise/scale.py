"""The units in which settings are numbers of any model: how large distances, inputs and weights are in this one.

Published α, β, γ, the step size and the L∞ ball are numbers of 7B models. Here the base reads text that it wrote:

    s  = mean ‖σ(W u)‖₂     what the layer writes       distances:  α s, β s, γ s, and L_act divided by s
    k² = mean ‖u‖²          what it reads               step size:  η s² / (ρ k²)
    w  = rms W                                          L∞ ball:    linf · w

With the step size, one step of descent moves an output by η times the gradient to it, both in units of s: a step
−η' g uᵀ of the entries in the mask moves the output for u by −η' ρ ‖u‖² g.
"""

from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen

from editcore.authoring.models import encode_prompt
from editcore_hooks import Site
from editcore_keyvalue.contexts import CLEAN, sample_contexts
from editcore_wise.hparams import WiseHparams
from editcore_wise.reading import read
from editcore_wise.router import Activation

if TYPE_CHECKING:
    from editcore_hooks import Session

TEXTS: Final = 12
LENGTH: Final = 16
"""Texts that the base writes to be measured on, and their tokens."""


@frozen
class Scale:
    """s, and the step size and the ball in units of the weights."""

    distance: float
    step: float
    ball: float


def scale_of(session: "Session", site: Site, activation: Activation, hparams: WiseHparams) -> Scale:
    """The scale that the settings ask for: measured once a session on the base, or 1 where they are absolute."""
    if hparams.unit == "absolute":
        return Scale(1.0, 1.0, 1.0)
    distance, square, weight = session.cached(
        ("wise scale", site, session.seed), lambda: _measured(session, site, activation), base=True
    )
    return Scale(distance, distance**2 / (hparams.mask_ratio * square), weight)


def texts(session: "Session", count: int, length: int) -> tuple[str, ...]:
    """At most `count` texts of `length` tokens that the base writes."""
    made = session.cached(
        ("wise texts", session.seed, count, length),
        lambda: sample_contexts(session, (length,), count),
        base=True,
    )
    return tuple(text for text in (each.removesuffix(CLEAN).strip() for each in made) if text)


def _measured(session: "Session", site: Site, activation: Activation) -> tuple[float, float, float]:
    """s, k² and w. First tokens are left out: many models read one large state there, whatever the token is."""
    with session.at_base():
        rows = [encode_prompt(session.tokenizer, text).prompt_ids for text in texts(session, TEXTS, LENGTH)]
        states = read(session, site, rows)
        weight = session.anatomy.weight(site).float().square().mean().sqrt()
    counted = states.prompt.clone()
    counted[:, 0] = False
    with torch.no_grad():
        written = activation(states.outputs).norm(dim=-1)[counted]
        square = states.inputs.square().sum(-1)[counted]
    return float(written.mean()), float(square.mean()), float(weight)
