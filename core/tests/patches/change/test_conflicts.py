"""Which pairs of patches count as conflicts, with the figures of the matrices, and what a rule makes of them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.patches.change.conflicts import Conflict, decide, find_conflicts
from editcore.patches.change.ondisk import apply_on_disk, change_on_disk
from editcore.patches.change.overlaps import Touching, disjoint, key_side, overlaps
from editcore.patches.change.plan import plan_change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta, StoredUpdate, to_stored
from editcore.patches.forms.table import FORMS
from editcore_hooks import ConflictError, LowRank, Rows, Sparse, TensorUpdate

Folder = Callable[..., Path]
Make = Callable[[TensorUpdate], Patch]
KEY = "model.layers.0.mlp.down_proj.weight"
D, K = 16, 24


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def root(folder: Folder) -> Path:
    return folder("llama")


@pytest.fixture
def make(root: Path) -> Callable[..., Patch]:
    opened = Checkpoint.open(root)
    entry, base_sha256, base = opened.entries[KEY], opened.base_sha256(KEY), base_identity(opened, "tiny")

    def make(update: TensorUpdate, *facts: tuple[str, str], title: str = "", **more: Any) -> Patch:
        requests = [{"prompt": "{} lives in", "subject": subject, "target_new": target} for subject, target in facts]
        about = {"requests": requests, "title": title, "sites": {KEY: {"role": "mlp_out", "layer": 0}}}
        target = Target(to_stored(update, False), entry.dtype, entry.shape, base_sha256)
        return seal({KEY: target}, base, about, **more)

    return make


def kinds(root: Path, *patches: Patch) -> list[str]:
    return [conflict.kind for conflict in find_conflicts(plan_change(Checkpoint.open(root), patches))]


def test_one_fact_with_two_answers_is_found_whatever_its_spelling(root: Path, make: Callable[..., Patch]) -> None:
    one = make(LowRank(random(D, 1), random(1, K, seed=1)), ("Ada", "Oslo"), title="first")
    two = make(LowRank(random(D, 1, seed=2), random(1, K, seed=3)), ("Bo", "Rome"), ("ada ", " Lima"))
    same = make(LowRank(random(D, 1, seed=4), random(1, K, seed=5)), ("Ada", " Oslo"))
    assert kinds(root, one, same) == ["overlap"]
    apply_on_disk(root, [one])
    fact, shared = find_conflicts(plan_change(Checkpoint.open(root), [two]))
    assert (fact.kind, fact.earlier, fact.later) == ("fact", one.patch_id, two.patch_id)
    assert "(first)" in fact.message
    assert "… Oslo and … Lima" in fact.message
    assert (shared.kind, shared.counts) == ("overlap", False)


def test_present_patches_are_not_judged_again(root: Path, make: Callable[..., Patch]) -> None:
    one = make(LowRank(random(D, 1), random(1, K, seed=1)), ("Ada", "Oslo"))
    two = make(LowRank(random(D, 1, seed=2), random(1, K, seed=1)), ("Ada", "Lima"))
    apply_on_disk(root, [one, two])
    assert kinds(root, make(Rows(torch.tensor([1]), random(1, K)), ("Bo", "Rome"))) == ["overlap", "overlap"]


def test_keys_that_collide_and_deltas_that_undo_each_other(root: Path, make: Callable[..., Patch]) -> None:
    key, value = random(1, K), random(D, 1, seed=1)
    one = make(LowRank(value, key))
    near = make(LowRank(random(D, 1, seed=2), key + 0.1 * random(1, K, seed=3)))
    (conflict,) = find_conflicts(plan_change(Checkpoint.open(root), [one, near]))
    assert (conflict.kind, conflict.where) == ("keys", KEY)
    assert conflict.keys == pytest.approx(1, abs=0.05) or conflict.keys == pytest.approx(-1, abs=0.05)
    two = torch.cat([value, random(D, 1, seed=4) * 0.1], 1), torch.cat([key, random(1, K, seed=5)])
    undo = make(LowRank(-two[0], two[1]))
    (conflict,) = find_conflicts(plan_change(Checkpoint.open(root), [one, undo]))
    assert conflict.kind == "aligned"
    assert conflict.cosine is not None
    assert conflict.cosine < -0.5
    assert "undo" in conflict.message


def test_one_key_of_many_that_collides_is_found(root: Path, make: Callable[..., Patch]) -> None:
    many = make(LowRank(random(D, 4), random(4, K, seed=1)))
    again = random(3, K, seed=2)
    again[2] = -3 * random(4, K, seed=1)[1]
    near, far = (make(LowRank(random(D, 3, seed=3), keys)) for keys in (again, random(3, K, seed=2)))
    (conflict,) = find_conflicts(plan_change(Checkpoint.open(root), [many, near]))
    assert conflict.kind == "keys"
    assert conflict.keys == pytest.approx(-1, abs=1e-6)
    (shared,) = find_conflicts(plan_change(Checkpoint.open(root), [many, far]))
    assert shared.kind == "overlap"
    assert shared.keys is not None
    assert abs(shared.keys) < 0.9


def test_keys_that_collide_name_their_subjects(root: Path, make: Callable[..., Patch]) -> None:
    keys = random(2, K)
    many = make(LowRank(random(D, 2, seed=1), keys), ("Ada", "Oslo"), ("Bo", "Rome"))
    one, unsaid, same = (
        make(LowRank(random(D, 1, seed=seed), keys[1:]), *facts)
        for seed, facts in ((2, [("Bo Quist", "Lima")]), (3, []), (4, [("Bo", "Rome")]))
    )
    found = [find_conflicts(plan_change(Checkpoint.open(root), [many, other]))[0] for other in (one, unsaid, same)]
    assert [conflict.kind for conflict in found] == ["keys"] * 3
    assert [conflict.subjects for conflict in found] == [("Bo", "Bo Quist"), None, ("Bo", "Bo")]
    assert "Bo and Bo Quist): each answers" in found[0].message
    assert "cosine 1.00): each" in found[1].message
    assert "cosine 1.00, Bo): each" in found[2].message


def test_a_space_that_lies_in_another_is_said_in_words(root: Path, make: Callable[..., Patch]) -> None:
    values = random(D, 3)
    one = make(LowRank(values, random(3, K, seed=1)))
    inside = make(LowRank(values @ random(3, 2, seed=2), random(2, K, seed=3)))
    (shared,) = find_conflicts(plan_change(Checkpoint.open(root), [one, inside]))
    assert shared.left == pytest.approx(1)
    assert "100% of a column space)" in shared.message


def test_disjoint_rows_and_places_are_free(root: Path, make: Callable[..., Patch]) -> None:
    rows, others = make(Rows(torch.tensor([1, 3]), random(2, K))), make(Rows(torch.tensor([2]), random(1, K)))
    place = make(Sparse(torch.tensor([[3], [1]]), torch.ones(1)))
    assert kinds(root, rows, others) == []
    assert kinds(root, others, place) == []
    assert kinds(root, rows, place) == ["overlap"]


def test_supports_of_sparse_deltas_are_compared_place_by_place() -> None:
    def sparse(*places: tuple[int, int]) -> Delta:
        return Delta("sparse", {"index": torch.tensor(places).T, "values": torch.ones(len(places))})

    assert disjoint(sparse((0, 1), (2, 3)), sparse((0, 3), (2, 1)))
    assert not disjoint(sparse((0, 1), (2, 3)), sparse((1, 0), (2, 3)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.integers(0, 50))
def test_all_pairs_at_once_are_the_pairs_multiplied_out(ranks: list[int], seed: int) -> None:
    class Held:
        """As much of a patch as `overlaps` asks for."""

        title = ""
        targets = {"w": SimpleNamespace(form=FORMS["low_rank"])}  # noqa: RUF012

        def __init__(self, number: int, rank: int) -> None:
            self.patch_id = str(number) * 64
            parts = {"left": random(D, rank, seed=seed + number), "right": random(rank, K, seed=seed + 9 + number)}
            self.delta = Delta("low_rank", parts, 0.5 + number)

        def deltas(self, _: str) -> tuple[Delta, ...]:
            return (self.delta,)

        def annotation(self, _: str) -> dict[str, Any]:
            return {}

    held = [Held(i, rank) for i, rank in enumerate(ranks)]
    found = overlaps("w", (D, K), [Touching(each, "w", True) for each in held])  # type: ignore[arg-type]
    assert len(found) == len(held) * (len(held) - 1) // 2
    matrices = {each.patch_id: each.delta.scale * each.delta.block(0, D, K) for each in held}
    for conflict in found:
        one, two = matrices[conflict.earlier], matrices[conflict.later]
        expected = float(torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))
        assert conflict.cosine == pytest.approx(expected, abs=1e-9)
        for figure, a, b in ((conflict.left, one, two), (conflict.right, one.T, two.T)):
            p, q = a @ torch.linalg.pinv(a, rtol=1e-6), b @ torch.linalg.pinv(b, rtol=1e-6)
            least = min(round(float(p.trace())), round(float(q.trace())))
            assert figure == pytest.approx(float((p @ q).trace()) / least, abs=1e-6)


def test_the_key_is_told_by_role_and_sides() -> None:
    out, into = {"role": "mlp_out"}, {"role": "mlp_in"}
    assert [key_side(out, (16, 64)), key_side(out, (64, 16))] == ["right", "left"]
    assert [key_side(into, (64, 16)), key_side(into, (16, 64))] == ["right", "left"]
    assert key_side(None, (64, 16)) == key_side(out, (16, 16)) == "right"


def test_rules_refuse_warn_or_drop_the_earlier(root: Path, make: Callable[..., Patch]) -> None:
    one = make(LowRank(random(D, 1), random(1, K, seed=1)), ("Ada", "Oslo"), title="old")
    two = make(LowRank(random(D, 1, seed=2), random(1, K, seed=3)), ("Ada", "Lima"), title="mid")
    three = make(LowRank(random(D, 1, seed=4), random(1, K, seed=5)), ("Ada", "Rome"), title="new")
    apply_on_disk(root, [one])
    opened = Checkpoint.open(root)
    conflicts = find_conflicts(plan_change(opened, [two, three]))
    with pytest.raises(ConflictError, match=r"two answers.*and 2 more"):
        decide(opened, [two, three], conflicts, "refuse")
    warned = decide(opened, [two, three], conflicts, "warn")
    assert (len(warned.patches), warned.taken_off, len(warned.notices)) == (2, (), 3)
    last = decide(opened, [two, three], conflicts, "last-wins")
    assert (last.patches, last.taken_off) == ((three,), (one.patch_id,))
    assert [("(old)" in notice, "(mid)" in notice) for notice in last.notices] == [(True, False), (False, True)]


def test_nothing_is_refused_where_patches_only_share_a_tensor(root: Path, make: Callable[..., Patch]) -> None:
    patches = [make(LowRank(random(D, 1, seed=i), random(1, K, seed=i + 5))) for i in range(3)]
    opened = Checkpoint.open(root)
    conflicts: list[Conflict] = find_conflicts(plan_change(opened, patches))
    assert decide(opened, patches, conflicts, "refuse").patches == tuple(patches)


def test_what_others_require_cannot_lose(root: Path, make: Callable[..., Patch]) -> None:
    one = make(LowRank(random(D, 1), random(1, K, seed=1)), ("Ada", "Oslo"))
    on_it = make(LowRank(random(D, 1, seed=2), random(1, K, seed=3)), ("Ada", "Lima"), requires=[one.patch_id])
    opened = Checkpoint.open(root)
    with pytest.raises(ConflictError, match="requires"):
        decide(opened, [one, on_it], find_conflicts(plan_change(opened, [one, on_it])), "last-wins")


def test_of_patches_that_cannot_share_a_tensor_all_are_named_and_the_last_can_win(
    root: Path, make: Callable[..., Patch]
) -> None:
    present = make(LowRank(random(D, 1), random(1, K, seed=1)), title="old")
    opened = Checkpoint.open(root)
    stored = StoredUpdate("replace", {"stored": random(D, K, seed=2)})
    bits = seal({KEY: Target(stored, "F32", (D, K), opened.base_sha256(KEY))}, base_identity(opened, "tiny"), {})
    later = make(LowRank(random(D, 1, seed=3), random(1, K, seed=4)), title="new")
    apply_on_disk(root, [present])
    opened = Checkpoint.open(root)
    conflicts = find_conflicts(plan_change(opened, [bits, later], shared=True))
    assert [(c.kind, c.earlier, c.later) for c in conflicts] == [
        ("exclusive", present.patch_id, bits.patch_id),
        ("exclusive", bits.patch_id, later.patch_id),
    ]
    for rule in ("refuse", "warn"):
        with pytest.raises(ConflictError, match=r"cannot both be on .*and 1 more.*last-wins to drop the earlier"):
            decide(opened, [bits, later], conflicts, rule)
    last = decide(opened, [bits], conflicts[:1], "last-wins")
    assert (last.patches, last.taken_off) == ((bits,), (present.patch_id,))
    assert f"(old) is left out, with all its facts: {bits.patch_id[:12]} must be alone on {KEY}" in last.notices[0]
    assert change_on_disk(root, last.patches, last.taken_off).patch_ids == (bits.patch_id,)


def test_the_plan_counts_the_products_of_all_factors_on_what_it_rewrites(
    root: Path, make: Callable[..., Patch]
) -> None:
    one, two = (make(LowRank(random(D, r, seed=r), random(r, K, seed=r + 9))) for r in (1, 3))
    assert plan_change(Checkpoint.open(root), [one]).flop == 2 * D * K
    apply_on_disk(root, [one])
    assert plan_change(Checkpoint.open(root), [two]).flop == 2 * D * K * 4
    assert plan_change(Checkpoint.open(root), removed=[one.patch_id]).flop == 0
