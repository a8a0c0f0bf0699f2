"""The vector database: clusters of edits with one target, each a ball around the mean of its points.

A new point k with initial radius R, d = ‖k − c‖ to the centre c of a cluster with radius ρ, is near it if d ≤ ρ + R:
    the nearest has the same target   the point joins it: c ← mean, ρ ← max(R of its points, its farthest point)
    otherwise                         a cluster of its own; near ones of other targets are split at d/2
The published code forgets points that a split shuts out; here each gets a cluster of its own, and of two targets of one
prompt the later replaces the earlier. Everything is derived from the points present, so a revert restores them.
"""

from collections.abc import Sequence

from attrs import evolve, frozen
from torch import Tensor

MARGIN = 1e-5
"""What the earlier of two clusters keeps away from the middle between them."""
SAME = 1e-3
"""Keys closer than this share of their norm are one prompt: what rounding alone makes of it in another batch."""


@frozen(eq=False)
class Cluster:
    """A ball with centre (d,), and the numbers of its points, which have one label."""

    centre: Tensor
    radius: float
    label: str
    points: tuple[int, ...]


def clusters_of(keys: Tensor, radii: Tensor, labels: Sequence[str]) -> list[Cluster]:
    """The clusters of points that were added in this order: `keys` (N, d), initial `radii` (N,), and a label each."""
    found: list[Cluster] = []
    for j, label in enumerate(labels):
        found = _without_replaced(found, j, keys, radii, label)
        own = float(radii[j])
        distances = [_distance(one.centre, keys[j]) for one in found]
        near = [i for i, one in enumerate(found) if distances[i] <= one.radius + own]
        nearest = min(near, key=lambda i: distances[i], default=None)
        if nearest is not None and found[nearest].label == label:
            found[nearest] = _ball((*found[nearest].points, j), keys, radii, label)
            continue
        shut_out: list[Cluster] = []
        for i in near:
            if found[i].label == label:
                continue
            half = distances[i] / 2
            own = min(own, half)
            found[i], left = _split(found[i], min(found[i].radius, half - MARGIN), keys)
            for point in left:
                half = _distance(keys[point], keys[j]) / 2
                own = min(own, half)
                alone = min(float(radii[point]), half - MARGIN)
                shut_out.append(Cluster(keys[point], alone, found[i].label, (point,)))
        found = [one for one in (*found, *shut_out) if one.points]
        found.append(Cluster(keys[j], own, label, (j,)))
    return found


def _split(one: Cluster, radius: float, keys: Tensor) -> tuple[Cluster, list[int]]:
    """The cluster with a smaller radius, and the points that it no longer holds."""
    left = [point for point in one.points if _distance(keys[point], one.centre) > radius]
    return evolve(one, radius=radius, points=tuple(p for p in one.points if p not in left)), left


def _without_replaced(found: list[Cluster], j: int, keys: Tensor, radii: Tensor, label: str) -> list[Cluster]:
    """The clusters without points of other targets at the prompt of point j."""
    same = SAME * float(keys[j].norm())
    kept = []
    for one in found:
        points = tuple(p for p in one.points if one.label == label or _distance(keys[p], keys[j]) > same)
        if points == one.points:
            kept.append(one)
        elif points:
            kept.append(_ball(points, keys, radii, one.label))
    return kept


def _ball(points: tuple[int, ...], keys: Tensor, radii: Tensor, label: str) -> Cluster:
    some = keys[list(points)]  # (n, d)
    centre = some.mean(0)
    farthest = float((some - centre).norm(dim=-1).max())
    return Cluster(centre, max(farthest, *(float(radii[p]) for p in points)), label, points)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm())
