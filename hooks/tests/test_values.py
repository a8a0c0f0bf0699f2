"""A value that is made wrong is refused where it is made, by field, with what is expected and what was given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from editcore_hooks import (
    Asset,
    Dense,
    InvalidValueError,
    Location,
    LowRank,
    Payload,
    PluginError,
    Report,
    Rows,
    Site,
    Sparse,
    State,
    Tunable,
    Update,
)


@frozen
class Array:
    """What a tensor shows of itself; the contract asks for no more."""

    shape: tuple[int, ...]
    dtype: str = "torch.float32"


SITE, INDEX = Site("mlp_out", 1), "torch.int64"
DELTA = Dense(Array((2, 3)))
FAULTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Site("mlp_ouy"), "Site.role must be one of 'block', 'mlp_in', "),  # type: ignore[arg-type]
    (lambda: Site("head", -1), "Site.layer must be an int from 0, or None, not -1"),
    (lambda: Site("head", "3"), "Site.layer must be an int from 0, or None, not a str"),  # type: ignore[arg-type]
    (lambda: Site("head", 1, "left"), "Site.stack must be one of 'decoder', 'encoder', not 'left'"),  # type: ignore[arg-type]
    (lambda: Location([SITE]), "Location.sites must be a tuple of Sites, not a list"),  # type: ignore[arg-type]
    (lambda: Location(("mlp_out",)), "Location.sites must be a tuple of Sites, not one with a str in it"),  # type: ignore[arg-type]
    (lambda: Location((SITE,), None), "Location.token must be a str, not None"),  # type: ignore[arg-type]
    (lambda: Dense([[0.0]]), "Dense.delta must be a tensor, not a list"),
    (lambda: Dense(Array((2, 3), INDEX)), "Dense.delta must be of a floating-point dtype, not int64"),
    (lambda: Dense(Array((2, 3), "torch.bool")), "Dense.delta must be of a floating-point dtype, not bool"),
    (lambda: Dense(Array(())), "Dense.delta must be (d_out, d_in), not ()"),
    (lambda: LowRank(Array((2, 1)), None), "LowRank.in_ must be a tensor, not None"),
    (
        lambda: LowRank(Array((2,)), Array((3,))),
        "LowRank.out must be (d_out, r) and LowRank.in_ (r, d_in) of one rank r, not (2,) and (3,) "
        "(for one vector each write LowRank(u[:, None], v[None]))",
    ),
    (lambda: LowRank(Array((2, 2)), Array((1, 3))), "of one rank r, not (2, 2) and (1, 3)"),
    (lambda: LowRank(Array((2, 0)), Array((0, 3))), "of one rank r, not (2, 0) and (0, 3)"),
    (lambda: Sparse(Array((2, 4)), Array((4,))), "Sparse.index must be of an integer dtype, not float32"),
    (
        lambda: Sparse(Array((2, 4), INDEX), Array((3,))),
        "Sparse.index must be (2, n) and Sparse.values (n,), not (2, 4) and (3,)",
    ),
    (
        lambda: Rows(Array((2,), INDEX), Array((2,))),
        "Rows.index must be (n,) and Rows.values (n, d_in), not (2,) and (2,)",
    ),
    (lambda: Payload(3), "Payload.kind must be the name of a PatchKind, not an int"),  # type: ignore[arg-type]
    (lambda: Payload("toy", []), "Payload.data must be a mapping of JSON values, not a list"),  # type: ignore[arg-type]
    (
        lambda: Payload("toy", {}, {"bias": 1.0}),
        "Payload.tensors must be a mapping from names to tensors, not one with a float at 'bias'",
    ),
    (
        lambda: Update([DELTA]),
        "from Site to LowRank, Dense, Sparse or Rows, not a list",
    ),  # type: ignore[arg-type]
    (lambda: Update({"mlp_out": DELTA}), "or Rows, not one with the key 'mlp_out', a str"),  # type: ignore[dict-item]
    (lambda: Update({SITE: Array((2, 3))}), "or Rows, not one with an Array at decoder.1.mlp_out"),  # type: ignore[dict-item]
    (lambda: Update(payload={}), "Update.payload must be a Payload or None, not a dict"),  # type: ignore[arg-type]
    (
        lambda: Update({SITE: DELTA}, Payload("toy")),
        "Update.payload must be None where there are tensors, not a Payload of toy",
    ),
    (
        lambda: Update(state_increment={"keys": [1.0]}),
        "Update.state_increment must be a mapping from names to tensors, not one with a list at 'keys'",
    ),
    (lambda: Update(notes=["a"]), "Update.notes must be a mapping of JSON values, not a list"),  # type: ignore[arg-type]
    (lambda: Update(assets=["a"]), "Update.assets must be a tuple of Assets, not a list"),  # type: ignore[arg-type]
    (lambda: State("", ["a"]), "State.patch_ids must be a tuple of patch ids, not a list"),  # type: ignore[arg-type]
    (lambda: Asset("a", "b", "c", {}, "d", "e"), "Asset.path must be a Path, not a str"),  # type: ignore[arg-type]
    (lambda: Tunable(({},), [{}]), "Tunable.recipes must be a tuple of mappings from hyper-parameters"),  # type: ignore[arg-type]
    (lambda: Tunable(({},), ({},), together=True), "Tunable.together must be an int, not a bool"),
    (lambda: Report("a@1", "0.5", 1, 0, 1), "Report.value must be a number, not a str"),  # type: ignore[arg-type]
    (
        lambda: Report("a@1", 0.5, 1, 0, 1, rows=(3,)),
        "a tuple of mappings, not one with an int in it",
    ),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "said"), FAULTS, ids=[said[:40] for _, said in FAULTS])
def test_a_value_that_is_made_wrong_names_field_expectation_and_what_was_given(
    make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PluginError)


def test_values_that_are_made_right_are_kept_as_they_are() -> None:
    half = Array((2, 1), "torch.bfloat16")
    for value in (LowRank(half, Array((1, 3), "float64")), Dense(Array((8,))), Rows(Array((1,), INDEX), Array((1, 3)))):
        assert Update({SITE: value}).tensors == {SITE: value}
    asset = Asset("a", "b", "c", {}, "d", Path("e"))
    assert Update(payload=Payload("toy", {}, {"bias": Array(())}), assets=(asset,)).assets == (asset,)
    assert Location(()).sites == ()
    assert Report("a@1", 1, 0, 0.0, 1).rows == ()
