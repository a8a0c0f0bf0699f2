"""Mutated patch files: each is refused with a message or reads as valid; no crash, no hang, no large allocation."""

import random
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path

from checks import models
from editcore.patches.patch import Patch
from editcore_hooks import EditcoreError

FILES = 20_000
FACTOR = 40
"""Python's memory for reading a file may be this many times its size, and a megabyte more."""


def run() -> list[str]:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        base = models.single(place / "model")
        good = place / "good.safetensors"
        models.patches(base, 1)[0].save(good)
        data = good.read_bytes()
        bad = place / "bad.safetensors"
        tracemalloc.start()
        for _ in range(FILES):
            bad.write_bytes(mutate(rng, data))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                Patch.load(bad)
                outcomes["read as valid"] += 1
            except EditcoreError as error:
                outcomes[f"refused: {type(error).__name__}"] += 1
            used = tracemalloc.get_traced_memory()[1] - before
            worst = max(worst, (used - 2**20) / len(data))
        tracemalloc.stop()
        assert worst < FACTOR, f"reading took {worst:.0f} times the size of the file"
    rows = [f"| {what} | {count} |" for what, count in sorted(outcomes.items())]
    memory = f"peak memory {max(worst, 0):.1f} times the size beyond 1 MB"
    said = f"{FILES:,} mutated files of {len(data):,} bytes; {memory}."
    return [said, "", "| outcome | files |", "|---|---|", *rows]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to four changes of the kinds that accidents and attackers make."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        header = 8 + int.from_bytes(data[:8], "little")
        at = rng.randrange(header if rng.random() < 0.8 else len(data)) % max(1, len(changed))
        match rng.randrange(7):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + 1] = rng.choice((b"{", b"}", b'"', b"[", b",", b"0", b"9", b"-", b"\\", b"\xff"))
            case 2:
                del changed[at : at + rng.randint(1, 64)]
            case 3:
                changed[at:at] = rng.randbytes(rng.randint(1, 64))
            case 4:
                changed[:8] = rng.choice((0, 1, 2**31, 2**63, len(data), header)).to_bytes(8, "little")
            case 5:
                del changed[at:]
            case 6:
                piece = changed[at : at + rng.randint(1, 200)]
                changed[at:at] = piece
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)
