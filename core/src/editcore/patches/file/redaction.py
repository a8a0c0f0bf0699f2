"""Taking the texts out of a patch's annotation. What stays is a list, so a field nobody thought of goes."""

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from editcore.storage.canonical import canonical

_KEPT: Final = (
    "base", "computed_on", "computed_on_patches", "sites", "aliases", "method", "hparams", "locator", "transforms",
    "profile", "seed", "state", "result_sha256", "environment", "created", "license", "author", "squash", "extract",
)  # fmt: skip
_METRIC: Final = ("metric", "id", "before", "value", "n", "low", "high", "dtype", "stored_dtype", "protocol")
"""`id` is what `metric` was called by the first versions."""
_ID: Final = re.compile(r"[0-9a-f]{64}")
_TEXTUAL: Final = ("context", "prompt", "text", "subject", "target_new", "target_true", "template")


def redacted(about: Mapping[str, Any], keep_hashes: bool) -> dict[str, Any]:
    """Annotation without requests, title, metric rows, contexts, notes and unknown fields.

    With `keep_hashes` each request leaves sha256(salt + canonical request) under `redacted`. The salt is in the file:
    whoever can guess a request word by word can check the guess, so hashes are for recognising, not for secrecy.
    """
    kept = {name: about[name] for name in _KEPT if name in about}
    for name in ("hparams", "locator", "transforms"):
        if name in kept:
            kept[name] = _without_texts(kept[name])
    metrics = about.get("metrics")
    if isinstance(metrics, list):
        kept["metrics"] = [
            {name: row[name] for name in _METRIC if name in row} for row in metrics if isinstance(row, Mapping)
        ]
    if isinstance(about.get("sources"), list):  # of a squash: each is an annotation of its own
        kept["sources"] = [
            source if isinstance(source, str) else {**redacted(source, keep_hashes), "patch_id": source.get("patch_id")}
            for source in about["sources"]
            if isinstance(source, Mapping) or (isinstance(source, str) and _ID.fullmatch(source))
        ]
    requests = about.get("requests")
    if keep_hashes and isinstance(requests, list):
        salt = secrets.token_bytes(16)
        hashes = [sha256(salt + canonical(request)).hexdigest() for request in requests]
        kept["redacted"] = {"salt": salt.hex(), "requests": hashes}
    return kept


def _without_texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_texts(item)
            for name, item in value.items()
            if not any(word in str(name).lower() for word in _TEXTUAL)
        }
    return [_without_texts(item) for item in value] if isinstance(value, list | tuple) else value
