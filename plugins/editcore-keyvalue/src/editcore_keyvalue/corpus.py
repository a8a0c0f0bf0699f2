"""Sources of tokens for second moments: bundled text, a file, a dataset id, or the model itself.

A corpus is an endless or finite row of chunks, each a list of token rows, the same on every run; chunk i does not
depend on how many were read before it, so a pass that was stopped resumes where it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from attrs import field, frozen

from editcore.authoring.models import sample
from editcore_hooks import UsageError
from editcore_keyvalue.windows import WINDOW, Chunk, chunked, documents_of, windows

if TYPE_CHECKING:
    from editcore_hooks import Session

ROWS_PER_CHUNK: Final = 32
LENGTH: Final = 128

Proceed = Callable[[int], bool]
"""Whether to draw one more token of each row after so many; a row is then shorter."""


def to_the_end(drawn: int) -> bool:
    return True


@frozen
class SelfCorpus:
    """Text sampled from the model itself: needs no network. Rows of `length` tokens from the start token."""

    length: int = LENGTH
    seeded: ClassVar[bool] = True

    @property
    def identity(self) -> str:
        return "self" if self.length == LENGTH else f"self:{self.length}"

    @property
    def words(self) -> str:
        """The source of its tokens, for people."""
        return "sampled from the model itself"

    def count(self, session: "Session", most: int) -> int:
        """The number of tokens, counted up to `most`."""
        return most

    def chunks(self, session: "Session", start: int = 0, proceed: Proceed = to_the_end) -> Iterator[Chunk]:
        """Chunks from number `start` on. One that `proceed` cuts short is the last, and given only if it is the first:
        what is read are whole chunks, or one of shorter rows.
        """
        length = min(self.length, session.max_length)
        for index in count(start):
            generator = torch.Generator().manual_seed((session.seed << 32) + index)
            starts = [[session.start_token]] * ROWS_PER_CHUNK
            new = sample(session.model, starts, length - 1, None, generator, proceed)
            short = len(new[0]) < length - 1
            if not (short and index):
                yield [start + row for start, row in zip(starts, new, strict=True)]
            if short:
                return

    def holding(self, session: "Session", tokens: int) -> "SelfCorpus":
        """The corpus of which so many tokens were read before time was up: this one, or one of shorter rows."""
        whole = tokens % (ROWS_PER_CHUNK * min(self.length, session.max_length)) == 0
        return self if whole else SelfCorpus(tokens // ROWS_PER_CHUNK)


@frozen
class TextCorpus:
    """Documents; long ones are cut into windows."""

    identity: str
    words: str
    documents: Callable[[], Iterator[str]] = field(repr=False)
    seeded: ClassVar[bool] = False

    def count(self, session: "Session", most: int) -> int:
        """The number of tokens, counted up to `most`."""
        found = 0
        for row in windows(session, self.documents()):
            found += len(row)
            if found >= most:
                return most
        return found

    def chunks(self, session: "Session", start: int = 0, proceed: Proceed = to_the_end) -> Iterator[Chunk]:
        yield from islice(chunked(windows(session, self.documents())), start, None)


Corpus = SelfCorpus | TextCorpus


def open_corpus(name: str) -> Corpus:
    """`self`, `bundled`, a path, or a dataset id `owner/name[:config]`. Raises `UsageError`."""
    if name == "self":
        return SelfCorpus()
    if name == "bundled":
        text = bundled_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        return TextCorpus(f"bundled:{digest}:{WINDOW}", "of the bundled text", lambda: documents_of(text))
    path = Path(name)
    if path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return TextCorpus(f"file:{path.name}:{digest}:{WINDOW}", f"of {name}", lambda: _file_documents(path))
    if path.suffix or name.startswith((".", "/")) or "/" not in name:
        hint = "give a .txt or .jsonl file, a dataset id, bundled or self"
        raise UsageError(f"there is no corpus file {name}", hint=hint)
    return TextCorpus(f"id:{name}:{WINDOW}", f"of {name}", lambda: _dataset_documents(name))


def bundled_text() -> str:
    """Ordinary English of many kinds, written for this package."""
    return files("editcore_keyvalue").joinpath("ordinary.txt").read_text("utf-8")


def take(chunks: Iterator[Chunk], tokens: int) -> Iterator[Chunk]:
    """Chunks until exactly `tokens` tokens are given, the last cut short."""
    left = tokens
    for chunk in chunks:
        cut: Chunk = []
        for row in chunk:
            if left > 0:
                cut.append(row[:left])
                left -= len(cut[-1])
        if cut:
            yield cut
        if left <= 0:
            return


def _file_documents(path: Path) -> Iterator[str]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        hint = f"convert it: iconv -t UTF-8 {path} > {path.stem}.utf8{path.suffix}"
        raise UsageError(f"the corpus {path.name} is not UTF-8 text: {error.reason}", hint=hint) from None
    if path.suffix != ".jsonl":
        yield from documents_of(text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield str(json.loads(line)["text"])
        except (json.JSONDecodeError, KeyError, TypeError):
            raise UsageError(f'{path.name}, line {number} is not {{"text": "…"}}') from None


def _dataset_documents(name: str) -> Iterator[str]:
    try:
        import datasets
    except ImportError:
        hint = "run: pip install 'editcore-keyvalue[data]'"
        raise UsageError(f"reading the dataset {name} needs the datasets library", hint=hint) from None
    repository, _, config = name.partition(":")
    rows: Any = datasets.load_dataset(repository, config or None, split="train", streaming=True)
    yield from (str(row["text"]) for row in rows)
