"""Overlaps of the deltas of several patches in one tensor. Low-rank pairs at once: two Gram matrices of the factors."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

import torch
from attrs import field, frozen

from editcore.patches.arithmetic.geometry import Spectrum, cosine, directions, overlap, spectrum
from editcore.patches.change.conflicts import ALIGNED, COLLIDING, NESTED, Conflict, Kind
from editcore.patches.change.dependents import named
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.forms.deltas import Delta, whole


@frozen
class Touching:
    """A patch, its own name for the tensor, and whether it is to be put on or there already."""

    patch: Patch | PatchHeader
    name: str
    new: bool


@frozen
class _Seen:
    touching: Touching
    delta: Delta
    directions: Spectrum = field(repr=False)

    @property
    def name(self) -> str:
        return named(self.touching.patch)


def overlaps(key: str, shape: Sequence[int], touching: Sequence[Touching]) -> list[Conflict]:
    """A conflict, or a plain `overlap`, for each pair with a new patch in it whose supports meet in the tensor."""
    if len(touching) < 2:
        return []

    @lru_cache(maxsize=2)  # dense deltas are as large as the tensor: no more of them than are being compared
    def seen(i: int) -> _Seen:
        delta = whole(touching[i].patch.deltas(touching[i].name))
        return _Seen(touching[i], delta, spectrum(delta, shape, key))

    last = touching[-1]
    side = key_side(last.patch.annotation("sites").get(last.name), shape)
    factored = [i for i, each in enumerate(touching) if each.patch.targets[each.name].form.factored]
    found = list(_factored(key, [seen(i) for i in factored], side))
    for i, j in combinations(range(len(touching)), 2):
        if {i, j} <= set(factored) or not (touching[i].new or touching[j].new):
            continue
        one, two = seen(i), seen(j)
        if not disjoint(one.delta, two.delta):
            spans = [directions(each.delta, each.directions) for each in (one, two)]
            left, right = overlap(spans[0][0], spans[1][0]), overlap(spans[0][1], spans[1][1])
            found.append(_conflict(key, one, two, cosine(one.delta, two.delta, shape), None, left, right))
    return found


def key_side(site: object, shape: Sequence[int]) -> str:
    """The factor that is the key: `right` for [out, in], `left` if the file stores [in, out], as for GPT-2.

    Told by the role: what leaves an MLP takes its long side in, what enters it the short one. Without a role, or
    where the sides are equal, it is `right`, which most families have.
    """
    role = site.get("role") if isinstance(site, dict) else None
    if len(shape) != 2 or shape[0] == shape[1] or role not in ("mlp_out", "mlp_in", "mlp_gate"):
        return "right"
    takes_long = role == "mlp_out"
    return "left" if (shape[0] > shape[1]) == takes_long else "right"


def disjoint(one: Delta, two: Delta) -> bool:
    """Whether no place is touched by both; low-rank and dense deltas touch every place."""
    if not (one.form.placed and two.form.placed):
        return False
    supports = one.support, two.support
    across = [support.columns for support in supports if support.columns is not None]
    if len(across) == 2:
        width = 1 + max((int(columns.max()) for columns in across if len(columns)), default=0)
        places = [support.places(width) for support in supports]
    else:
        places = [support.rows for support in supports]
    return not bool(torch.isin(*places).any())


def _factored(key: str, seen: Sequence[_Seen], side: str) -> Iterator[Conflict]:
    """All low-rank pairs of a tensor: ⟨δᵢ, δⱼ⟩ are block sums of (UᵀU) ∘ (Σ VVᵀ Σ) over all directions at once."""
    if len(seen) < 2:
        return
    lefts = torch.cat([one.directions.left for one in seen], dim=1)  # (d, Σn)
    rights = torch.cat([one.directions.right for one in seen])  # (Σn, k)
    values = torch.cat([one.directions.values for one in seen])  # (Σn)
    gram_left, gram_right = lefts.T @ lefts, rights @ rights.T  # (Σn, Σn)
    products = gram_left * gram_right * values.outer(values)
    ends = torch.tensor([0, *[len(one.directions.values) for one in seen]]).cumsum(0).tolist()
    norms = [one.directions.total**0.5 for one in seen]
    for i, j in combinations(range(len(seen)), 2):
        one, two = seen[i], seen[j]
        if not (one.touching.new or two.touching.new):
            continue
        block = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
        left, right = gram_left[block], gram_right[block]
        least = min(left.shape)
        size = norms[i] * norms[j]
        yield _conflict(
            key,
            one,
            two,
            float(products[block].sum()) / size if size else 0.0,
            _nearest(_keys(one.delta, side), _keys(two.delta, side)),
            float(left.square().sum()) / least if least else 0.0,
            float(right.square().sum()) / least if least else 0.0,
        )


def _keys(delta: Delta, side: str) -> torch.Tensor:
    """The keys of a low-rank delta (r, k), one a factor and each of length 1: an edit of many facts has many."""
    left, right = delta.factors
    keys = right if side == "right" else left.T
    return torch.nn.functional.normalize(keys.double(), dim=1)


@frozen
class _Nearest:
    """The pair of keys, one of each of two deltas, whose cosine is largest either way, and the numbers of the two."""

    cosine: float
    one: int
    two: int


def _nearest(one: torch.Tensor, two: torch.Tensor) -> _Nearest:
    cosines = one @ two.T
    number = int(cosines.abs().argmax())
    i, j = divmod(number, cosines.shape[1])
    return _Nearest(float(cosines[i, j]), i, j)


def _subjects(one: _Seen, two: _Seen, keys: _Nearest) -> tuple[str, str] | None:
    """Whose keys they are, where the requests of both patches say it: one a key, or one for all."""
    found = [_subject(one, keys.one), _subject(two, keys.two)]
    return (found[0], found[1]) if all(found) else None


def _subject(seen: _Seen, number: int) -> str:
    requests = seen.touching.patch.about.get("requests")
    if not isinstance(requests, list) or len(requests) not in (1, len(seen.delta.factors[0].T)):
        return ""
    request = requests[0 if len(requests) == 1 else number]
    return str(request.get("subject", "")) if isinstance(request, dict) else ""


def _conflict(
    key: str, one: _Seen, two: _Seen, angle: float, nearest: _Nearest | None, left: float, right: float
) -> Conflict:
    pair = f"patches {one.name} and {two.name}"
    kind: Kind = "overlap"
    keys = None if nearest is None else nearest.cosine
    subjects = None if nearest is None or abs(nearest.cosine) < COLLIDING else _subjects(one, two, nearest)
    spaces = ", ".join(
        f"{share:.0%} of a {name} space" for name, share in (("column", left), ("row", right)) if share >= NESTED
    )
    message = f"{pair} share {key} (cosine {angle:.2f}{', ' * bool(spaces)}{spaces})"
    if abs(angle) >= ALIGNED:  # before keys, which they then mostly share
        kind = "aligned"
        message = f"{pair} {'add to' if angle > 0 else 'undo'} each other in {key} (cosine {angle:.2f})"
    elif keys is not None and abs(keys) >= COLLIDING:
        kind = "keys"
        of = "" if subjects is None else ", " + " and ".join(dict.fromkeys(subjects))
        message = (
            f"{pair} have nearly one key in {key} (cosine {keys:.2f}{of}): each answers to a subject of the other. "
            "Edit the two facts together, with merge=subject where the method has it"
        )
    earlier, later = one.touching.patch.patch_id, two.touching.patch.patch_id
    return Conflict(kind, earlier, later, key, message, angle, keys, left, right, subjects)
