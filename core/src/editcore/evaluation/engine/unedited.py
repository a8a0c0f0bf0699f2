"""Answers of a model without any patch: asked once, remembered by the session, and kept as assets.

Answers belong to the base, the tokenizer, the configuration (how it is quantised included), the dtype and the kind of
device. Each time something is asked that was never
asked before, the new answers go into an asset of their own; nothing that was kept is written again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch
from attrs import define, evolve, field
from torch import Tensor

from editcore.assets.identity import Identity
from editcore.evaluation.engine.model_reader import Readable, Room, largest_rooms, read_all, write_all
from editcore.evaluation.engine.questions import Drift, Neutral, Score, Unanswered, Write
from editcore.models.running.packed_reading import Found
from editcore.models.running.top_k_distribution import LIKELIEST, TopKDistribution, concatenated
from editcore.storage.canonical import canonical
from editcore_hooks import Asset

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

KIND: Final = "unedited_answers"
OWNER: Final = "editcore"
MEANING: Final = 1
"""Raised when what a kept answer means changes."""
_OF_THE_FILE: Final = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype"})
"""Keys of a configuration about its origin; the dtype of the computation is a separate parameter."""


@define
class Unedited:
    """The answers of one session, by the text that stands for the question; a written answer is kept as ids."""

    session: "OpenSession"
    _found: dict[str, Found] = field(factory=dict, repr=False)
    _written: dict[str, tuple[int, tuple[int, ...]]] = field(factory=dict, repr=False)
    _loaded: bool = False

    def read(self, questions: Sequence[Readable], keep: bool) -> list[Found | Unanswered]:
        """The answer to each question; of a `Drift` or `Neutral` with the distributions."""
        refused: dict[str, Unanswered] = {}
        keys = [_key(question) for question in questions]
        self._load()
        missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._found}
        if missing:
            new: dict[str, Found] = {}
            with self.session.at_base():
                for keeps_top_k in (False, True):
                    some = {k: q for k, q in missing.items() if isinstance(q, Drift | Neutral) == keeps_top_k}
                    found = read_all(
                        self.session, [(0, question) for question in some.values()], keeps_top_k=keeps_top_k
                    )
                    both = list(zip(some, found, strict=True))
                    new |= {key: one for key, one in both if isinstance(one, Found)}
                    refused |= {key: one for key, one in both if isinstance(one, Unanswered)}
            self._found |= new
            if keep:
                self._keep(new, {})
        return [refused[key] if key in refused else self._found[key] for key in keys]

    def write(self, questions: Sequence[Write], rooms: Sequence[Room], keep: bool) -> list[tuple[int, ...]]:
        """The ids written for each, at least as many as there is room for, or all up to the end."""
        keys = [_key(question) for question in questions]
        self._load()
        short = [
            (key, room)
            for key, room in zip(keys, rooms, strict=True)
            if key not in self._written or self._written[key][0] < room.tokens
        ]
        if short:
            wanted = largest_rooms(short)
            with self.session.at_base():
                ids = write_all(self.session, [(0, room) for room in wanted.values()])
            new = {key: (room.tokens, own) for (key, room), own in zip(wanted.items(), ids, strict=True)}
            self._written |= new
            if keep:
                self._keep({}, new)
        return [self._written[key][1] for key in keys]

    def _parameters(self) -> dict[str, Any]:
        return {
            "tokenizer_sha256": self.session.tokenizer_sha256,
            "config_sha256": self._config_sha256(),
            "quantised": self.session.loaded.quantised,
            "dtype": self.session.loaded.dtype,
            "device": self.session.device.type,
            "likeliest": LIKELIEST,
            "meaning": MEANING,
        }

    def _config_sha256(self) -> str:
        """Hash of the model's own configuration: quantisation while loading is not in its folder."""
        settings = _without(json.loads(self.session.model.config.to_json_string()), _OF_THE_FILE)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def _keep(self, found: Mapping[str, Found], written: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        distributions = {key: one.top_k for key, one in found.items() if one.top_k is not None}
        sizes = {key: len(each.rest) for key, each in distributions.items()}
        rows = {
            "found": [[key, one.logprobs, one.said, one.hits, sizes.get(key, 0)] for key, one in found.items()],
            "written": [[key, *one] for key, one in written.items()],
        }
        tensors = {"rows": torch.frombuffer(bytearray(json.dumps(rows).encode()), dtype=torch.uint8)}
        if distributions:
            tensors |= attrs.asdict(concatenated(list(distributions.values())), recurse=False)
        digest = hashlib.sha256(canonical(sorted([*found, *(f"{key} {one[0]}" for key, one in written.items())])))
        parameters = {**self._parameters(), "questions": digest.hexdigest()}
        identity = Identity(KIND, OWNER, self.session.weights_root, parameters)
        with self.session.assets.lock(identity):
            self.session.assets.put(identity, tensors)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for asset in self._kept():
            tensors = self.session.assets.load(asset)
            rows = json.loads(tensors["rows"].numpy().tobytes())
            start = 0
            for key, logprobs, said, hits, size in rows["found"]:
                kept = _slice(tensors, start, size) if size else None
                self._found[key] = Found(tuple(logprobs), tuple(said), tuple(hits), kept)
                start += size
            for key, tokens, ids in rows["written"]:
                if key not in self._written or self._written[key][0] < tokens:
                    self._written[key] = (tokens, tuple(ids))

    def _kept(self) -> Iterator[Asset]:
        wanted, root = self._parameters().items(), self.session.weights_root
        for asset in self.session.assets.list():
            if (asset.kind, asset.owner, asset.base_root) == (KIND, OWNER, root):
                identity = Identity(KIND, OWNER, root, asset.parameters)
                found = self.session.assets.find(identity) if wanted <= asset.parameters.items() else None
                if found is not None:
                    yield found


def unedited_of(session: "OpenSession") -> Unedited:
    """The answers of a session's model without any patch."""
    return session.cached("unedited", lambda: Unedited(session), base=True)


def _without(value: Any, keys: frozenset[str]) -> Any:
    """A JSON value whose objects lack some keys, at any depth."""
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value


def _slice(tensors: Mapping[str, Tensor], start: int, size: int) -> TopKDistribution:
    ids, logprobs, rest = (tensors[name][start : start + size] for name in ("ids", "logprobs", "rest"))
    return TopKDistribution(ids, logprobs, rest)


def _key(question: Readable | Write) -> str:
    """The question as text, without what does not change the answer, or only its length."""
    if isinstance(question, Score):
        question = evolve(question, unedited=True)
    if isinstance(question, Write):
        question = Write(question.prompt, 0, question.template, unedited=True)  # an `Answer` has the same ids
    return canonical([type(question).__name__, attrs.asdict(question)]).decode()
