"""What all kinds of this package say of their layer: which it is, and which tokens are replaced. Light: no torch."""

from collections.abc import Mapping
from typing import Any

from editcore_hooks import Site

TOKENS = {"last": "the last prompt token", "prompt": "all prompt tokens", "all": "all tokens"}


def site_of(data: Mapping[str, Any]) -> Site:
    """The layer of a payload."""
    return Site(data["role"], data["layer"], stack=data["stack"])


def described(data: Mapping[str, Any]) -> dict[str, str]:
    """The layer and the tokens, for people."""
    return {"place": f"{data['stack']}.{data['layer']}.{data['role']}", "replaces": TOKENS[data["replace"]]}


def place_fault(data: Mapping[str, Any]) -> str | None:
    """The fault of what data say of the layer, as a clause."""
    if data["role"] not in ("mlp_out", "mlp_in") or data["stack"] not in ("decoder", "encoder"):
        return "it names no MLP of a decoder or an encoder"
    if type(data["layer"]) is not int or data["layer"] < 0:
        return "its layer is not a number from 0"
    return None if data["replace"] in TOKENS else "its data do not say what is replaced"
