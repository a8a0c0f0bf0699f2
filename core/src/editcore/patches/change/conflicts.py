"""Conflicts between patches: one fact with two answers, keys that collide, deltas that point one way.

Weight patches add up, so two of them on one tensor are no conflict by themselves: rank-one edits of one layer always
share it. Forms that exclude others on their tensor cannot be added up, so of two only the later can win.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from attrs import field, frozen

from editcore.patches.change.dependents import named, refuse_required
from editcore.patches.change.exclusive import clashes, said_twice, twice
from editcore.patches.change.plan import Plan
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stored import stored_patch
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.text.ids import short, titled
from editcore_hooks import ConflictError

OnConflict = Literal["refuse", "warn", "last-wins"]
Kind = Literal["fact", "twice", "exclusive", "keys", "aligned", "overlap"]
ALIGNED: Final = 0.5
"""Deltas whose cosine is at least this, either way, strengthen or undo each other."""
COLLIDING: Final = 0.9
"""Low-rank edits that have keys, one of each, with at least this cosine answer to each other's subjects."""
NESTED: Final = 0.5
"""From this share on the report says in words that the smaller column or row space of two deltas lies in the other."""


@frozen
class Conflict:
    """Two patches, the `earlier` and the `later` one by id, that meet at `where`: a prompt, or a tensor.

    `cosine` is that of the deltas, `keys` the largest, either way, of a key of one and a key of the other, where both
    are low-rank; `left` and `right` are how much of the smaller column
    and row space lies in the other, in [0, 1], the mean squared cosine of the principal angles. `subjects` are those of
    keys that collide, where the patches say whose they are.
    """

    kind: Kind
    earlier: str
    later: str
    where: str
    message: str
    cosine: float | None = None
    keys: float | None = None
    left: float | None = None
    right: float | None = None
    subjects: tuple[str, str] | None = None

    @property
    def counts(self) -> bool:
        """Whether it is more than a tensor that two patches share."""
        return self.kind != "overlap"


@frozen
class Decision:
    """The decision: the patches to apply, the ids of present ones to revert, and the messages."""

    patches: tuple[Patch, ...]
    taken_off: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=())


def find_conflicts(plan: Plan) -> list[Conflict]:
    """Conflicts of the patches that `plan` (with `shared`) adds, with those that stay or with each other; facts first.

    Reads the tensors of present patches only where a new one touches the same tensor. Raises `ConflictError` when a
    writer takes one away meanwhile.
    """
    from editcore.patches.change.overlaps import Touching, overlaps

    opened = plan.checkpoint
    headers: dict[str, Patch | PatchHeader] = {
        i: stored_patch(opened, i) for i in opened.patch_ids if i not in plan.removed
    }
    headers |= {patch.patch_id: patch for patch in plan.added}
    new = {patch.patch_id for patch in plan.added}
    order = list(headers)
    found = _facts(headers, new)
    found += [
        Conflict("twice", earlier.patch_id, later.patch_id, "", said_twice(earlier, later))
        for earlier, later in twice(list(headers.values()), new)
    ]
    clashing = clashes(opened, plan.added, plan.touched)
    found += [_exclusive(key, headers[one], headers[other]) for key, one, other in clashing]
    for key, names in plan.touched.items():
        if new & names.keys() and key not in {where for where, *_ in clashing}:
            touching = [Touching(headers[i], names[i], i in new) for i in sorted(names, key=order.index)]
            with opened.unchanged():
                found += overlaps(key, opened.entries[key].shape, touching)
    return found


def decide(
    checkpoint: Checkpoint, patches: Sequence[Patch], conflicts: Sequence[Conflict], rule: OnConflict
) -> Decision:
    """The decision of `rule` on conflicts. `last-wins` leaves out the earlier of two patches that have one fact or
    exclude each other: by their form, or because both contain one patch.

    Raises `ConflictError` under `refuse`, under `warn` for patches that exclude each other, and under `last-wins` when
    what stays requires a patch that would be reverted.
    """
    counting = [conflict for conflict in conflicts if conflict.counts]
    deciding = [c for c in counting if c.kind in ("fact", "twice", "exclusive")]
    excluding = [c for c in deciding if c.kind in ("twice", "exclusive")]
    barred = {"refuse": counting, "warn": excluding, "last-wins": []}[rule]
    if barred:
        more = f" (and {len(barred) - 1} more)" if len(barred) > 1 else ""
        goes_on = "last-wins to drop the earlier" if excluding else "warn or last-wins to go on"
        raise ConflictError(
            f"{barred[0].message}{more}", hint=f"list all with --dry-run, or pass --on-conflict {goes_on}"
        )
    losing = {c.earlier for c in deciding} if rule == "last-wins" else set()
    left = tuple(patch for patch in patches if patch.patch_id not in losing)
    gone = tuple(patch_id for patch_id in checkpoint.patch_ids if patch_id in losing)
    if gone:
        refuse_required(checkpoint, gone)
    for patch in left:
        if needed := sorted(losing & set(patch.requires)):
            raise ConflictError(
                f"patch {short(patch.patch_id)} requires {short(needed[0])}, which a later patch displaces",
                hint="apply with --on-conflict warn, or leave one of them out",
            )
    notices = [c.message for c in counting if c not in deciding or rule == "warn"]
    if losing:
        titles = {patch["id"]: patch["title"] for patch in checkpoint.stack.patches}
        titles |= {patch.patch_id: patch.title for patch in patches}
        notices += [_dropped(i, titles, deciding) for i in titles if i in losing]
    return Decision(left, gone, tuple(notices))


def _facts(headers: Mapping[str, Patch | PatchHeader], new: set[str]) -> list[Conflict]:
    """Prompts, their subject in place, that two patches answer differently; of each the last other answer."""
    said: dict[str, list[tuple[str, str]]] = {}
    found = []
    for patch_id, patch in headers.items():
        for prompt, target in facts_of(patch).items():
            for earlier, other in said.get(_plain(prompt), []):
                if _plain(other) != _plain(target) and earlier != patch_id and {earlier, patch_id} & new:
                    message = (
                        f"patches {named(headers[earlier])} and {named(patch)} hold one fact with two answers: "
                        f"{prompt} … {other.strip()} and … {target.strip()}"
                    )
                    found.append(Conflict("fact", earlier, patch_id, prompt, message))
            said.setdefault(_plain(prompt), []).append((patch_id, target))
    return found


def facts_of(patch: Patch | PatchHeader) -> dict[str, str]:
    """Prompt with its subject → target, of the requests that the annotation kept."""
    facts = {}
    requests = patch.about.get("requests")
    for request in requests if isinstance(requests, list) else ():
        if isinstance(request, dict) and isinstance(request.get("prompt"), str):
            prompt = request["prompt"].replace("{}", str(request.get("subject", "")))
            facts[prompt] = str(request.get("target_new", ""))
    return facts


def _dropped(patch_id: str, titles: Mapping[str, str], conflicts: Sequence[Conflict]) -> str:
    lost = next(c for c in conflicts if c.earlier == patch_id)
    how = {"fact": f"answers {lost.where!r} differently", "twice": "has a patch in common with it"}.get(
        lost.kind, f"must be alone on {lost.where}"
    )
    return f"patch {titled(patch_id, titles[patch_id])} is left out, with all its facts: {short(lost.later)} {how}"


def _exclusive(key: str, earlier: Patch | PatchHeader, later: Patch | PatchHeader) -> Conflict:
    message = f"patches {named(earlier)} and {named(later)} cannot both be on {key}: one of them replaces its bits"
    return Conflict("exclusive", earlier.patch_id, later.patch_id, key, message)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
