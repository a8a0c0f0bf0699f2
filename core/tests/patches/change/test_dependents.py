"""Patches that need one another come off together or not at all, and what was measured on them is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from editcore.patches.change.dependents import dependents
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.listing import stack_rows
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.file.patch import Patch
from editcore_hooks import ConflictError

Folder = Callable[..., Path]
Make = Callable[..., Patch]
KEY = "transformer.h.0.mlp.c_proj.weight"


@pytest.fixture
def chain(folder: Folder, make_patch: Make) -> tuple[Path, list[Patch]]:
    """Three patches, each of which requires the one before, and a fourth that requires none."""
    root = folder("gpt2")
    one = make_patch(root, KEY, seed=1)
    two = make_patch(root, KEY, seed=2, requires=[one.patch_id])
    three = make_patch(root, KEY, seed=3, requires=[two.patch_id])
    four = make_patch(root, KEY, seed=4, about={"computed_on": stack_hash([p.patch_id for p in (one, two, three)])})
    apply_on_disk(root, [one, two, three, four])
    return root, [one, two, three, four]


def test_dependents_are_found_through_others(chain: tuple[Path, list[Patch]]) -> None:
    root, patches = chain
    one, two, three, four = (patch.patch_id for patch in patches)
    opened = Checkpoint.open(root)
    assert dependents(opened, [one]) == (two, three)
    assert dependents(opened, [three]) == dependents(opened, [four]) == ()


def test_taking_off_what_others_require_is_refused_with_all_their_names(chain: tuple[Path, list[Patch]]) -> None:
    root, (one, two, three, _) = chain
    with pytest.raises(ConflictError) as caught:
        revert_on_disk(root, [one.patch_id])
    for patch in (two, three):
        assert f"{patch.patch_id[:12]} ({patch.title})" in str(caught.value)
    assert "--with-dependents" in str(caught.value)
    assert Checkpoint.open(root).stack.hash == stack_hash(p.patch_id for p in chain[1])


def test_what_was_computed_on_a_patch_that_goes_is_named_with_the_next_command(chain: tuple[Path, list[Patch]]) -> None:
    root, (_, _, three, four) = chain
    (notice,) = revert_on_disk(root, [three.patch_id]).notices
    assert f"{four.patch_id[:12]} (patch 4) was computed on the model with {three.patch_id[:12]} (patch 3)" in notice
    assert f"editcore eval {root} --cases FILE" in notice


def test_rows_say_what_each_patch_rests_on(chain: tuple[Path, list[Patch]]) -> None:
    root, patches = chain
    rows = stack_rows(Checkpoint.open(root))
    assert [(row.position, row.id, row.title) for row in rows] == [
        (i + 1, patch.patch_id, f"patch {i + 1}") for i, patch in enumerate(patches)
    ]
    assert [row.verdict for row in rows] == ["as computed", *["computed on the base alone"] * 2, "as computed"]
    assert rows[1].requires == (patches[0].patch_id,)
    revert_on_disk(root, [patches[2].patch_id])
    assert stack_rows(Checkpoint.open(root))[-1].verdict == "computed on another stack"


def test_a_patch_is_named_by_the_ids_it_was_computed_on_wherever_it_lies(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    one, between = make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)
    about = {"computed_on": stack_hash([one.patch_id]), "computed_on_patches": [one.patch_id]}
    three = make_patch(root, KEY, seed=3, about=about)
    said = apply_on_disk(root, [one, between, three]).notices
    assert [f"computed on the model with {one.patch_id[:12]}, and not with" in notice for notice in said] == [True]
    assert revert_on_disk(root, [between.patch_id]).notices == ()
    apply_on_disk(root, [between])
    (notice,) = revert_on_disk(root, [one.patch_id]).notices
    assert f"{three.patch_id[:12]} (patch 3) was computed on the model with {one.patch_id[:12]} (patch 1)" in notice


def test_only_what_lies_on_another_stack_than_it_was_computed_on_is_named(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    one, two = make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)
    on = make_patch(root, KEY, seed=3, about={"computed_on": stack_hash([one.patch_id, two.patch_id])})
    assert apply_on_disk(root, [one, two, on]).notices == ()
    revert_on_disk(root, [on.patch_id, two.patch_id])
    (notice,) = apply_on_disk(root, [on]).notices
    assert f"editcore eval {root} --cases FILE" in notice
