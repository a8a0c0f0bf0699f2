"""The settings of the two locators."""

from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "Meng et al. 2022"
_positive = validators.gt(0)


@frozen
class TraceHparams:
    """Defaults are those of the published code; the window is scaled to the depth of the model."""

    samples: int = hparam(
        10, help="number of corrupted runs of a fact", source=f"{_PAPER}, appendix B.1; code", validator=_positive
    )
    noise: float = hparam(
        3.0,
        help="standard deviation of the noise on the subject, as a multiple of that of the subjects' embeddings",
        symbol="ν",
        source=f"{_PAPER}, section 2.1",
        validator=_positive,
    )
    window: int | None = hparam(
        None,
        help="blocks whose MLP, or attention, is restored together; none: a fifth of the model, at most 10",
        source=f"{_PAPER}, section 2.2 (10 of 48)",
        validator=validators.optional(_positive),
    )
    facts: int = hparam(32, help="as a locator, largest number of requests of a call to trace", validator=_positive)
    layers: int = hparam(
        1, help="as a locator, number of neighbouring blocks that end with the one found", validator=_positive
    )

    def window_in(self, n_layers: int) -> int:
        """The window in a model of that depth."""
        return min(self.window or max(1, min(10, round(n_layers / 5))), n_layers)


@frozen
class LensHparams:
    """The rule by which a block is taken is ours: the lens itself names none."""

    rank: int = hparam(
        10,
        help="as a locator, number of likeliest tokens that must include the answer from the block on",
        validator=_positive,
    )
    facts: int = hparam(32, help="as a locator, largest number of requests of a call to read", validator=_positive)
    layers: int = hparam(
        1, help="as a locator, number of neighbouring blocks that end with the one found", validator=_positive
    )
