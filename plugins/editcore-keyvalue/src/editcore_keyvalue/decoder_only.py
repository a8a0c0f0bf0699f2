"""The refusal of models with an encoder. Light: no torch."""

from typing import TYPE_CHECKING

from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


def require_decoder(session: "Session", method: str) -> None:
    """Raises `UsageError` for an encoder-decoder: no block of it reads the subject and then writes the answer."""
    if session.encoder_decoder:
        family = session.traits()["model_type"]
        raise UsageError(
            f"{method} writes into a block that reads the subject before it writes the answer; the encoder of a "
            f"{family} reads the subject, and its decoder the answer alone",
            hint="choose a method that supports encoder-decoders, such as ft-m; `editcore methods` marks them T5",
        )
