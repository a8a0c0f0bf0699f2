"""One file of a hub, streamed under limits of size, time and pages. Nothing that the hub says becomes a path.

The hub's library is used for addresses, headers, redirects and errors; its cache is not, because it names files by
the ETag that the hub sends, and its listing follows as many pages as the hub offers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlsplit

from attrs import field, frozen

from editcore.storage.canonical import load_json
from editcore_hooks import EditcoreError, RefusedFileError

_STALL: Final = 30.0
"""Seconds without a byte."""
_PAGE: Final = 10_000_000
"""Bytes of one page of a listing; a thousand entries take about 200 kB."""


@frozen
class Limits:
    """Limits of a download. `started` is the start of its time."""

    megabytes: float = 2000.0
    seconds: float = 600.0
    pages: int = 20
    started: float = field(factory=time.monotonic)

    def check_time(self, what: str) -> None:
        if time.monotonic() - self.started > self.seconds:
            raise EditcoreError(f"{what} took more than {self.seconds:g} seconds", hint="allow more with --max-seconds")


def list_files(repository: str, revision: str | None, limits: Limits) -> list[str]:
    """The files of a model repository. Raises `EditcoreError` beyond the limits, and what the hub's library raises."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    validate_repo_id(repository)
    what = f"the listing of {repository}"
    tree = f"{HfApi().endpoint}/api/models/{repository}/tree/{quote(revision or 'main', safe='')}?recursive=true"
    url: str | None = tree
    names: list[str] = []
    for _ in range(limits.pages):
        if url is None:
            return names
        with _answer(url) as response:
            page = load_json(b"".join(_blocks(response, what, _PAGE, limits)), what)
            url = response.links.get("next", {}).get("url")
        if url is not None and urlsplit(url)[:2] != urlsplit(tree)[:2]:
            raise RefusedFileError(f"{what} redirects to another host: {url[:80]}")
        if not isinstance(page, list):
            raise RefusedFileError(f"{what} is not a list")
        found = [one.get("path") for one in page if isinstance(one, dict) and one.get("type") == "file"]
        names += [name for name in found if isinstance(name, str)]
    if url is None:
        return names
    raise EditcoreError(
        f"{what} has more than {limits.pages} pages", hint="name the file with --file, or allow more with --max-pages"
    )


def fetch_file(repository: str, name: str, revision: str | None, into: BinaryIO, limits: Limits) -> None:
    """Write one file of a model repository into an open file. Raises as `list_files`."""
    from huggingface_hub import hf_hub_url

    what = f"{name} of {repository}"
    with _answer(hf_hub_url(repository, name, revision=revision)) as response:
        for block in _blocks(response, what, int(limits.megabytes * 1_000_000), limits):
            into.write(block)


@contextmanager
def _answer(url: str) -> Iterator[Any]:
    """A streamed answer, its status checked. The client drops the token where it is sent to another host."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    headers = {**build_hf_headers(library_name="editcore"), "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers, timeout=_STALL, follow_redirects=True) as response:
        hf_raise_for_status(response)
        yield response


def _blocks(response: Any, what: str, most: int, limits: Limits) -> Iterator[bytes]:
    """The body as it comes, not unpacked: what is compressed could grow to any size."""
    received = 0
    for block in response.iter_raw():
        limits.check_time(what)
        received += len(block)
        if received > most:
            hint = None if most == _PAGE else "allow more with --max-megabytes"
            raise EditcoreError(f"{what} is larger than {most / 1_000_000:g} MB", hint=hint)
        yield block
