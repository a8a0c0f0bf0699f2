"""Models: loading them, naming their parts, tokenising, running, tracing and scoring them.

Nothing here imports torch until it is used: names are looked up in their modules on first access.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editcore.models.anatomy import Anatomy
    from editcore.models.batch import Batch, forward, pad
    from editcore.models.generation import generate, sample
    from editcore.models.loading import Loaded, load
    from editcore.models.scoring import TargetScore, target_logprobs
    from editcore.models.spans import Encoded, encode, encode_prompt, encode_request, token_index
    from editcore.models.tracing import Tap, Trace

_MODULE_OF = {
    "Anatomy": "anatomy",
    "Batch": "batch",
    "forward": "batch",
    "pad": "batch",
    "generate": "generation",
    "sample": "generation",
    "Loaded": "loading",
    "load": "loading",
    "TargetScore": "scoring",
    "target_logprobs": "scoring",
    "Encoded": "spans",
    "encode": "spans",
    "encode_prompt": "spans",
    "encode_request": "spans",
    "token_index": "spans",
    "Tap": "tracing",
    "Trace": "tracing",
}

__all__ = [
    "Anatomy",
    "Batch",
    "Encoded",
    "Loaded",
    "Tap",
    "TargetScore",
    "Trace",
    "encode",
    "encode_prompt",
    "encode_request",
    "forward",
    "generate",
    "load",
    "pad",
    "sample",
    "target_logprobs",
    "token_index",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
