"""The answer of a hub must not choose where the hub's library writes: it names files after their ETag."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from editcore_hooks import RefusedFileError

_ETAG: Final = re.compile(r'(?:W/)?"?[0-9A-Za-z_-]{1,128}"?')
_HEADERS: Final = ("etag", "x-linked-etag", "x-repo-commit")
_OBJECT_IDS: Final = ("oid", "sha256", "sha", "blobId")


@contextmanager
def plain_names() -> Iterator[None]:
    """Have every answer to huggingface_hub checked before the library uses it.

    Raises `RefusedFileError` for an ETag, a commit or an object id that could be read as a path: the library
    (1.3 to 2.4 at least) joins it to the folder of its cache.
    """
    from huggingface_hub import get_session

    session = get_session()
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "response": [*hooks["response"], _check]}
    try:
        yield
    finally:
        session.event_hooks = hooks


def _check(response: Any) -> None:
    """Called by the HTTP client with each answer, before its body is read."""
    host = response.request.url.host
    for name in _HEADERS:
        value = response.headers.get(name)
        if value is not None and not _ETAG.fullmatch(value):
            _refuse(host, name, value)
    if "/api/" in response.request.url.path and response.request.method == "GET" and response.status_code == 200:
        response.read()
        try:
            listing = response.json()
        except ValueError:  # the library says what is wrong with it
            return
        for name, value in _object_ids(listing):
            if not isinstance(value, str) or not _ETAG.fullmatch(value):
                _refuse(host, name, value)


def _object_ids(listing: Any) -> Iterator[tuple[str, Any]]:
    rest = [listing]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            yield from ((name, value[name]) for name in _OBJECT_IDS if value.get(name) is not None)
        if isinstance(value, dict | list):
            rest.extend(value.values() if isinstance(value, dict) else value)


def _refuse(host: str, name: str, value: object) -> None:
    raise RefusedFileError(
        f"{host} answers with the {name} {json.dumps(value)[:80]}, which is not a plain hash",
        hint="set HF_ENDPOINT to another endpoint",
    )
