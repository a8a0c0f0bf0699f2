"""The checked core is a value: what does not fit together cannot be made, and what was read is what the file says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from editcore.patches.file.core import Core, CoreAsset
from editcore.patches.file.part import Part
from editcore.patches.file.patch import Patch
from editcore.patches.file.refusal import Fault
from editcore.patches.file.target import CoreTarget, Group
from editcore.patches.forms.table import FORMS
from editcore_hooks import RefusedFileError

SHA = "a" * 64
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))


def part(*shape: int, dtype: str = "F32") -> Part:
    return Part(dtype, shape, SHA)


def low_rank(**fields: Any) -> CoreTarget:
    parts = {"left": part(4, 2), "right": part(2, 6)}
    return CoreTarget(**{"form": FORMS["low_rank"], "parts": parts, "shape": (4, 6), "base_dtype": "F32",
                         "base_sha256": SHA, **fields})  # fmt: skip


def group(number: int, rank: int, scale: Any = 1.0) -> Group:
    return Group(f"{number:064x}", rank, scale)


def stored(dtype: str) -> CoreTarget:
    return low_rank(form=FORMS["replace"], parts={"stored": part(4, 6, dtype=dtype)})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Part("F33", (1,), SHA), "dtype, shape and sha256"),
        (lambda: Part("F32", (-1,), SHA), "dtype, shape and sha256"),
        (lambda: Part("F32", (True,), SHA), "dtype, shape and sha256"),
        (lambda: Part("F32", (1,), SHA.upper()), "dtype, shape and sha256"),
        (lambda: low_rank(shape=(4, 7)), "do not multiply"),
        (lambda: low_rank(parts={"left": part(4, 2)}), "has the parts"),
        (lambda: low_rank(parts={"left": part(4, 2, dtype="F64"), "right": part(2, 6)}), "has F64 in its part left"),
        (lambda: stored("F16"), "is replaced by F16"),
        (lambda: low_rank(form=FORMS["xor"], parts={"bits": part(4, 6, dtype="U16")}), "another width"),
        (lambda: low_rank(groups=(group(1, 1),)), "do not add up"),
        (lambda: low_rank(groups=(group(1, 1), group(1, 1))), "two groups of one patch"),
        (lambda: attrs.evolve(stored("F32"), groups=(group(1, 2),)), "low_rank factors"),
        (lambda: group(1, 0), "patch_id, rank and scale"),
        (lambda: group(1, 1, scale=True), "scale is not a number"),
        (lambda: CoreAsset("net", "x", "compute"), "kind, sha256 and required_at"),
        (lambda: CoreAsset("net", SHA, "never"), "neither at compute nor at apply"),
        (lambda: Core("weights", 0.5, {"w": stored("F32")}), "target w replaces bits, which have no scale"),
    ],
)
def test_what_does_not_fit_together_cannot_be_made(make: Callable[[], object], says: str) -> None:
    with pytest.raises(Fault, match=says):
        make()


@pytest.mark.parametrize("value", [part(1), group(1, 1), low_rank(), Core("weights", 1.0, {"w": low_rank()})])
def test_values_are_frozen_and_equal_by_content(value: Any) -> None:
    assert value == attrs.evolve(value)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, attrs.fields(type(value))[0].name, None)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_checked_core_says_what_the_file_says(path: Path) -> None:
    header, patch = Patch.read_header(path), Patch.load(path)
    assert header.checked == patch.checked == Core.read(header.core, "it")
    assert header.checked.parts.keys() == {name for name in header.parts if not name.startswith("state/")}
    assert (header.kind, header.scale) == (header.core["kind"], header.core["apply"]["scale"])
    for key, target in header.targets.items():
        said = header.core["targets"][key]
        assert said["form"] == target.form.name
        assert said["parts"] == {n: {**attrs.asdict(p), "shape": list(p.shape)} for n, p in target.parts.items()}
        assert (said["base_dtype"], said["base_sha256"]) == (target.base_dtype, target.base_sha256)
        assert said.get("groups", []) == [attrs.asdict(each) for each in target.groups]


def test_no_patch_is_made_of_a_core_that_the_format_does_not_allow() -> None:
    with pytest.raises(RefusedFileError, match=f"patch {SHA[:12]} is refused: its core lacks"):
        Patch(SHA, {"kind": "weights"})
