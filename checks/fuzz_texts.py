"""Files of cases, YAML and assets changed at random: each is refused with an error, or read as valid."""

import hashlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from checks.attacks import capped
from checks.fuzz import SECONDS, SPACE, limited, timed
from checks.mutations import mutate
from editcore.assets.file import read_manifest, verify, write
from editcore.assets.identity import Identity
from editcore.cli.requests import read_file
from editcore.storage.canonical import canonical
from editcore.text.yaml_text import read_mapping
from editcore_hooks import EditcoreError

FILES: Final = 10_000
"""Number of files of each kind."""

CASE: Final[dict[str, Any]] = {
    "id": "a",
    "prompt": "{} is led by",
    "subject": "Lorn",
    "target_new": "Ada",
    "target_true": None,
    "template": {"chat": True, "system": "Be brief."},
    "target_prefix": "auto",
    "rephrases": ["{} has as its head"],
    "locality": {"neighbour": [{"prompt": "Oss is led by", "target": ["Bo"]}]},
    "portability": {"multi_hop": [{"prompt": "a", "target": "b", "also": [["c"]], "conditions": [], "group": "g"}]},
    "together": [{"prompt": "{} is in", "subject": "Lorn", "target_new": "Oss"}],
    "generation": ["Lorn"],
    "accepted": ["A. Voss"],
}
SETTINGS: Final = b'layers: [1, 2]\nlr: 1e-3\nname: "a \\u00e9"\nnested: &x {a: [1, b], c: ~}\nagain: *x\n'
IDENTITY: Final = Identity("second_moment", "editcore-keyvalue", "a" * 64, {"layer": 3, "text": ["a", 1.5]})
TENSORS: Final = {"mean": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)}
VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, -0.0, 2**53 - 1, 1e308, "", "{}", "{} {}", "x" * 5000, "\x1b[2J\n", "\u202e", "../x", [],
    {}, [[]], [None], [1], {"a": 1}, {"prompt": 3}, [{"prompt": "a"}], [{"prompt": "a", "target": {}}],
)  # fmt: skip
TEXTS: Final = (
    "NaN", "-Infinity", "1e999", "9" * 5000, '"\\ud83d"', "[" * 2000, "[" * 70 + "]" * 70, '{"a":1,"a":2}', "\ufeff",
    "\xff",
)  # fmt: skip


def run(files: int = FILES) -> list[str]:
    outcomes = count(files)
    said = (
        f"{files:,} mutated files each of cases, settings in YAML and assets. Every one is refused with an "
        f"error or read as valid: no other exception, less than {SECONDS:g} s of processor time, never more than "
        f"{SPACE // 2**20} MB beyond the process itself."
    )
    return [said, "", "| outcome | times |", "|---|---|", *(f"| {k} | {n:,} |" for k, n in sorted(outcomes.items()))]


def count(files: int) -> Counter[str]:
    """How reading so many files of each kind ends."""
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, limited():
        place = Path(name)
        for kind, make, read in (
            ("cases", _cases, lambda path: read_file(str(path))),
            ("settings", _settings, read_mapping),
            ("asset", _asset, lambda path: (read_manifest(path), verify(path))),
        ):
            path = place / kind
            for _ in range(files):
                make(rng, path)
                outcomes[f"{kind}: {_read(read, path)}"] += 1
    return outcomes


def _read(read: Callable[[Path], object], path: Path) -> str:
    refusal: EditcoreError | None = None
    try:
        with timed(), capped(SPACE):
            read(path)
    except EditcoreError as error:
        refusal = error
    if refusal is None:
        return "read as valid"
    assert refusal.message.isprintable(), f"several lines, or a control character: {refusal.message!r}"
    return f"refused: {type(refusal).__name__}"


def _cases(rng: random.Random, path: Path) -> None:
    rows = [json.loads(json.dumps({**CASE, "id": f"{i}"})) for i in range(2)]
    lines = [json.dumps(_changed(rng, row) if rng.random() < 0.5 else row) for row in rows]
    path.write_bytes(_bytes(rng, "\n".join(lines)))


def _settings(rng: random.Random, path: Path) -> None:
    path.write_bytes(_bytes(rng, SETTINGS.decode()))


def _asset(rng: random.Random, path: Path) -> None:
    write(path, IDENTITY, TENSORS, {"corpus": "self"})
    if rng.random() < 0.5:
        path.write_bytes(mutate(rng, path.read_bytes()))
        return
    tensors = {name: hashlib.sha256(data.numpy().tobytes()).hexdigest() for name, data in TENSORS.items()}
    document: dict[str, Any] = {"format": "editcore.asset", "format_version": "1.0", "about": {"corpus": "self"}}
    document |= {"core": {**IDENTITY.as_json(), "tensors": tensors}}
    document = _changed(rng, document)
    for name, field in (("sha256", "core"), ("about_sha256", "about")):
        document.setdefault(name, hashlib.sha256(canonical(document.get(field))).hexdigest())
    save_file(TENSORS, path, metadata={"editcore": json.dumps(document)})


def _changed(rng: random.Random, document: Any) -> Any:
    """One value anywhere, another; or gone, or of another name."""
    node = document
    while True:
        place = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[place], dict | list) and node[place] and rng.random() < 0.7:
            node = node[place]
            continue
        match rng.randrange(6):
            case 0:
                del node[place]
            case 1 if isinstance(node, dict):
                node[rng.choice(("extra", "Prompt", ""))] = node.pop(place)
            case _:
                node[place] = rng.choice(VALUES)
        return document


def _bytes(rng: random.Random, text: str) -> bytes:
    """A piece of text put in, taken out or repeated; or bytes."""
    at, length = rng.randrange(len(text)), rng.randint(1, 40)
    match rng.randrange(5):
        case 0:
            return (text[:at] + rng.choice(TEXTS) + text[at:]).encode()
        case 1:
            return (text[:at] + rng.choice(TEXTS) + text[at + length :]).encode()
        case 2:
            return (text[:at] + text[at + length :]).encode()
        case 3:
            data = bytearray(text.encode())
            data[at % len(data)] = rng.randrange(256)
            return bytes(data)
    return text.encode()
