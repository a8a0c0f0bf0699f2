"""What a revert says that it takes back, whatever a file says of its requests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from editcore.patches.change.taken_back import taken_back
from editcore.patches.file.patch import Patch


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([{"prompt": "a"}, {"prompt": "b"}], "its 2 edits go together, to the last bit"),
        ([{"prompt": "a"}], "its edit goes, to the last bit"),
        (1.5, "its edit goes, to the last bit"),
        ("many", "its edit goes, to the last bit"),
        (None, "its edit goes, to the last bit"),
    ],
)
def test_the_edits_of_a_patch_are_counted_and_no_shape_is_trusted(
    folder: Callable[..., Path], make_patch: Callable[..., Patch], requests: object, said: str
) -> None:
    patch = make_patch(folder("gpt2"), "transformer.h.0.mlp.c_proj.weight", about={"requests": requests})
    assert taken_back(patch) == said
