"""Patch files changed as accidents and attackers change them: bytes at random, and content with ids that fit."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from checks import sample_patches
from checks.forging import SHA, Forgery, forgery
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.patch import Patch
from editcore.patches.forms.table import FORMS
from editcore.storage.tensors import blob_of, tensor_of

FLOATS: Final = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 1e-310, 65504.0, 3.4e38, -3.4e38, 1e300)
INTEGERS: Final = (-1, 0, 1, 2, 31, 47, 2**31, 2**62, -(2**63))
SCALES: Final[tuple[Any, ...]] = (0, -1, 0.5, 2, 1e-300, 1e38, 1e300, 1e308, -1e308, 2**53, True, "1", None)
JUNK: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1e308, 2**53, "", "x" * 5000, "\x1b[2J\x9b2J\n", "../x", SHA, [], {}, [[]], [None, {}],
    [{"prompt": 3}], [{"prompt": "{} is", "subject": None, "target_new": [1]}], [{"metric": [], "value": 1e308}],
    {"name": []}, {"name": "a/b", "revision": 1, "license": []},
)  # fmt: skip
ABOUT: Final = (
    "base", "computed_on", "sites", "aliases", "method", "hparams", "transforms", "profile", "seed", "requests",
    "metrics", "environment", "created", "title", "license", "author", "state", "sources", "squash", "redacted",
    "result_sha256", "new",
)  # fmt: skip

Change = Callable[[random.Random, Forgery, Sequence[Patch]], object]


def corpus(model: Path) -> list[Patch]:
    """A patch in order of every form, of several tensors, of a squash, of units and of memories."""
    matrix, other, _, vector = sample_patches.KEYS
    single = [sample_patches.patch(model, {matrix: form}, seed=i) for i, form in enumerate(sample_patches.FORMS)]
    several = sample_patches.patch(model, {matrix: "low_rank", other: "rows", vector: "dense"}, seed=50, scale=0.5)
    pair = [
        sample_patches.patch(model, {matrix: "low_rank", other: "sparse"}, seed=60 + i, scale=i + 1.0) for i in range(2)
    ]
    return [*single, several, squash(pair).patch, sample_patches.units(model), *sample_patches.memories(model)]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to four changes of bytes, most of them in the header."""
    changed = bytearray(data)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.randint(1, 4)):
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


def forge(rng: random.Random, patches: Sequence[Patch]) -> Forgery:
    """One to three changes of what a patch says or holds; a reader can tell by the content alone."""
    made = forgery(rng.choice(patches))
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(CHANGES)(rng, made, patches)
    if rng.random() < 0.1:
        anywhere(rng, made)  # last, since the others need a core that has its fields
    return made


def element(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    """One number becomes another, special one."""
    name, tensor = rng.choice(sorted(made.tensors.items()))
    blob = blob_of(tensor)
    special: Sequence[float] = FLOATS if tensor.is_floating_point() else INTEGERS
    one = blob_of(torch.tensor([rng.choice(special)]).to(tensor.dtype)).data
    data, at = bytearray(blob.data), rng.randrange(max(1, tensor.numel())) * len(one)
    data[at : at + len(one)] = one if data else b""
    made.set(name, tensor_of(blob.dtype, blob.shape, bytes(data)))


def size(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    """All numbers of a part grow, shrink or turn."""
    name, tensor = rng.choice(sorted(made.tensors.items()))
    if tensor.is_floating_point():
        made.set(name, tensor * rng.choice((0.0, -1.0, 1e-30, 1e20, 1e38)))


def kind_of_number(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    name, tensor = rng.choice(sorted(made.tensors.items()))
    made.set(name, tensor.to(rng.choice((torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64))))


def shape(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    name, tensor = rng.choice(sorted(made.tensors.items()))
    if tensor.dim():
        other = (tensor[1:], tensor[:0], tensor[..., :1], tensor.flip(0) if tensor.is_floating_point() else tensor[:1],
                 tensor.T if tensor.dim() == 2 else tensor.reshape(1, -1), tensor.reshape(-1))  # fmt: skip
        made.set(name, rng.choice(other).contiguous())


def rank(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    """Factors added, left out or of zero, in both parts alike."""
    for key, target in made.core["targets"].items():
        left, right = (made.tensors.get(f"{key}/{part}", torch.zeros(0)) for part in ("left", "right"))
        if target["form"] == "low_rank" and left.dim() == right.dim() == 2:
            n = rng.randint(0, left.shape[1])
            more = rng.choice((0, 0, 1, sample_patches.HIDDEN))
            made.set(f"{key}/left", torch.cat([left[:, :n], left[:, :1].repeat(1, more)], 1))
            made.set(f"{key}/right", torch.cat([right[:n], right[:1].repeat(more, 1)]))


def groups(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    """The factors of a target, claimed to be those of several patches."""
    for target in made.core["targets"].values():
        ranks = [1] * rng.choice((target["parts"].get("left", {"shape": [0, 1]})["shape"][1], 1, 2))
        ids = [rng.choice((SHA, f"{i:064x}")) for i in range(len(ranks))]
        scales = [rng.choice(SCALES) for _ in ranks]
        target["groups"] = [{"patch_id": i, "rank": r, "scale": s} for i, r, s in zip(ids, ranks, scales, strict=True)]


def graft(rng: random.Random, made: Forgery, patches: Sequence[Patch]) -> None:
    """A target of another patch beside or instead of one of this."""
    other = forgery(rng.choice(patches))
    if other.core["targets"] and made.core["targets"]:
        key = rng.choice(sorted(other.core["targets"]))
        at = rng.choice((key, *sorted(made.core["targets"]), sample_patches.KEYS[2]))
        made.drop(at)
        made.core["targets"][at] = other.core["targets"][key]
        for part in other.core["targets"][key]["parts"]:
            made.tensors[f"{at}/{part}"] = other.tensors[f"{key}/{part}"]


def without_a_target(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    if len(made.core["targets"]) > 1:
        made.drop(rng.choice(sorted(made.core["targets"])))


def name(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    if made.core["targets"]:
        other = rng.choice(
            (
                *sample_patches.KEYS,
                "a",
                "../../x",
                "/x",
                "a" * 600,
                "lm_head.weight",
                f"transformer.{sample_patches.KEYS[0]}",
            )
        )
        old = rng.choice(sorted(made.core["targets"]))
        if other not in made.core["targets"]:
            made.rename(old, other)


def target_field(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    if made.core["targets"]:
        target = made.core["targets"][rng.choice(sorted(made.core["targets"]))]
        values: dict[str, Sequence[Any]] = {
            "form": (*FORMS, "columns", 3),
            "shape": (
                [sample_patches.HIDDEN, 48],
                [48, sample_patches.HIDDEN],
                [1],
                [],
                [2**20, 2**20],
                [2**40, 2**40],
                [0],
                [-1, 4],
                "x",
            ),
            "base_dtype": ("F32", "F16", "BF16", "F64", "I64", "Q4", None),
            "base_sha256": (SHA, "x", None),
        }
        field = rng.choice(sorted(values))
        target[field] = rng.choice(values[field])


def scale(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    made.core["apply"]["scale"] = rng.choice(SCALES)


def dependencies(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    made.core["requires"] = rng.choice(([SHA], ["../../x"], [SHA, SHA], [], {}, [1]))
    made.core["assets"] = rng.choice(
        ([], [{"kind": "x", "sha256": SHA, "required_at": rng.choice(("compute", "apply", 1))}], [{}], 3)
    )


def annotation(rng: random.Random, made: Forgery, _: Sequence[Patch]) -> None:
    """A field of any other type, or one field of a field."""
    field = rng.choice(ABOUT)
    inside = made.about.get(field)
    if isinstance(inside, dict) and inside and rng.random() < 0.5:
        inside[rng.choice(sorted(inside))] = rng.choice(JUNK)
    else:
        made.about[field] = rng.choice(JUNK)


def anywhere(rng: random.Random, made: Forgery) -> None:
    """Any place of the core, however deep: another value, or none."""
    node: Any = made.core
    while True:
        place = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[place], dict | list) and node[place] and rng.random() < 0.8:
            node = node[place]
        elif rng.random() < 0.3:
            del node[place]
            return
        else:
            node[place] = rng.choice(JUNK)
            return


CHANGES: Final[tuple[Change, ...]] = (
    element, size, kind_of_number, shape, rank, groups, graft, without_a_target, name, target_field, scale,
    dependencies, annotation, annotation,
)  # fmt: skip
