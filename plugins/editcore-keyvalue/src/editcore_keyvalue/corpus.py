"""Where the tokens of the second moments come from: a file, a dataset id, or the model itself.

A corpus is an endless or finite row of chunks, each a list of token rows, the same on every run; chunk i does not
depend on the chunks before it, so a pass that was stopped goes on where it was.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import field, frozen

from editcore.models.generation import sample
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore import Session

ROWS_PER_CHUNK: Final = 32
MAX_LENGTH: Final = 1024

Chunk = list[list[int]]


@frozen
class SelfCorpus:
    """Text sampled from the model itself: needs no network. Rows of `length` tokens from the start token."""

    identity: str = "self"
    length: int = 128

    def chunks(self, session: "Session", start: int = 0) -> Iterator[Chunk]:
        index = start
        while True:
            generator = torch.Generator().manual_seed((session.seed << 32) + index)
            starts = [[session.start_token]] * ROWS_PER_CHUNK
            length = min(self.length, session.max_length)
            new = sample(session.model, starts, length - 1, None, generator)
            yield [start + row for start, row in zip(starts, new, strict=True)]
            index += 1


@frozen
class TextCorpus:
    """Documents of a text file (parted by blank lines), a JSONL file (key `text`), or a dataset id."""

    identity: str
    documents: Any = field(repr=False)

    def chunks(self, session: "Session", start: int = 0) -> Iterator[Chunk]:
        length = min(MAX_LENGTH, session.max_length)
        whole = (session.tokenizer(text, truncation=True, max_length=length)["input_ids"] for text in self.documents())
        rows = islice((row for row in whole if row), start * ROWS_PER_CHUNK, None)
        while chunk := list(islice(rows, ROWS_PER_CHUNK)):
            yield chunk


Corpus = SelfCorpus | TextCorpus


def open_corpus(name: str) -> Corpus:
    """`self`, a path, or a dataset id `owner/name[:config]`. Raises `UsageError`."""
    if name == "self":
        return SelfCorpus()
    path = Path(name)
    if path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return TextCorpus(f"file:{path.name}:{digest}", lambda: _file_documents(path))
    if path.suffix or name.startswith((".", "/")) or "/" not in name:
        raise UsageError(f"there is no corpus file {name}", hint="give a .txt or .jsonl file, a dataset id, or self")
    return TextCorpus(f"id:{name}", lambda: _dataset_documents(name))


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
    text = path.read_text("utf-8")
    if path.suffix != ".jsonl":
        yield from (part for part in text.split("\n\n") if part.strip())
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
    rows = datasets.load_dataset(repository, config or None, split="train", streaming=True)
    yield from (str(row["text"]) for row in rows)
