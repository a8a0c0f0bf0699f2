"""A method or locator that lacks a stage fails where its class is defined."""

from typing import Any

import pytest

from editcore_hooks import EditMethod, Location, Locator, Site, State, Update


def define(base: type, **members: Any) -> type:
    return type("Made", (base,), members)


def stage(*arguments: Any) -> None: ...


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "Made does not define 'locate'"),
        ({"locate": stage}, "Made does not define 'compute_update'"),
        ({"locate": stage, "compute_updates": stage}, "'compute_update'; is 'compute_updates' misspelt?"),
        ({"locat": stage, "compute_update": stage}, "'locate'; is 'locat' misspelt?"),
        ({"locate": stage, "editcore_compute_updte": stage}, "'compute_update'; is 'editcore_compute_updte' misspelt?"),
    ],
)
def test_a_stage_that_is_missing_or_misspelt_is_named(members: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        define(EditMethod, name="made", **members)
    assert str(caught.value).endswith(said)


def test_a_locator_needs_its_one_stage() -> None:
    with pytest.raises(TypeError, match="Made does not define 'locate'"):
        define(Locator, name="made")
    define(Locator, name="made", locate=stage)


def test_a_class_without_a_name_is_for_others_to_complete() -> None:
    half = define(EditMethod, locate=stage)
    define(half, name="made", compute_update=stage)
    with pytest.raises(TypeError, match="does not define 'compute_update'"):
        define(half, name="made")


def test_a_plain_stage_that_a_hook_above_it_hides_is_refused() -> None:
    hooked = define(EditMethod, locate=stage, editcore_compute_update=stage)
    with pytest.raises(TypeError, match="'compute_update' of Made would never be called"):
        define(hooked, name="made", compute_update=stage)
    define(define(EditMethod, locate=stage, compute_update=stage), name="made", editcore_compute_update=stage)


def test_the_hook_of_a_plain_stage_calls_it() -> None:
    class Plain(EditMethod):
        name = "plain"

        def locate(self, session, requests, state):  # type: ignore[no-untyped-def]
            return Location((Site("mlp_out", len(requests)),))

        def compute_update(self, session, requests, location, state):  # type: ignore[no-untyped-def]
            return Update(notes={"sites": [str(site) for site in location.sites]})

    method, state = Plain(), State("")
    found = method.editcore_locate(None, [], state)  # type: ignore[arg-type]
    assert found is not None
    update = method.editcore_compute_update(None, [], found, state)  # type: ignore[arg-type]
    assert update is not None
    assert update.notes == {"sites": ["decoder.0.mlp_out"]}
    assert hasattr(EditMethod.editcore_locate, "editcore_impl")
