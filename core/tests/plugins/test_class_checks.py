"""A class tells much of what is wrong with it before it runs."""

from typing import Any, Literal

import attrs
import pytest

from editcore.plugins.class_checks import class_problems
from editcore.plugins.registry import registry
from editcore_hooks import EditMethod, Locator, Transform, hookimpl, hparam


@attrs.frozen
class Good:
    layer: int = hparam(5, help="block")
    layers: tuple[int, ...] | None = hparam(None, help="blocks")
    mode: Literal["a", "b"] = hparam("a", help="a switch")
    lr: float = hparam(1, help="step size")


class Honest(EditMethod):
    name = "honest"
    Hparams = Good
    capabilities = frozenset({"batch"})

    @hookimpl
    def editcore_locate(self, requests): ...

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state): ...


class Misspelt(Honest):
    @hookimpl
    def editcore_compute_updates(self, session): ...


class UnmarkedMisspelt(Honest):
    def editcore_locat(self, session): ...


class WrongArgument(Honest):
    @hookimpl
    def editcore_compute_update(self, session, request): ...


class Unmarked(Honest):
    def editcore_compute_update(self, session, requests): ...


class NotItsOwn(Honest):
    @hookimpl
    def editcore_apply_patch(self, target): ...


class Slow(Honest):
    def compute_eachs(self, session, requests, location, state): ...


class Short(Locator):
    name = "short"

    def locate(self, session, requests): ...


class Hooked(Transform):
    name = "hooked"

    @hookimpl
    def editcore_locate(self, session): ...


class Fast(Honest):
    capabilities = frozenset({"bacth"})


def with_hparams(hparams: type) -> type[EditMethod]:
    return type("Made", (Honest,), {"Hparams": hparams})


@attrs.frozen
class Bare:
    layer: int = 5


@attrs.frozen
class Wordless:
    layer: int = hparam(5, help=" ")


@attrs.define
class Open:
    layer: int = hparam(5, help="block")


class NoAttrs:
    layer = 5


@attrs.frozen
class Mapping:
    rates: dict[str, float] = hparam({}, help="rates")


@attrs.frozen
class Misfit:
    layer: int = hparam("five", help="block")  # type: ignore[assignment]


@attrs.frozen
class Unknown:
    layer: "Nothing" = hparam(5, help="block")  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Misspelt, ["it has no stage 'editcore_compute_updates': did you mean 'editcore_compute_update'?"]),
        (UnmarkedMisspelt, ["it has no stage 'editcore_locat': did you mean 'editcore_locate'?"]),
        (WrongArgument, ["'editcore_compute_update' has no argument 'request': did you mean 'requests'?"]),
        (Unmarked, ["'editcore_compute_update' is a stage without @hookimpl: it would never be called"]),
        (NotItsOwn, ["it has no stage 'editcore_apply_patch'"]),
        (Slow, ["nothing calls 'compute_eachs': did you mean 'compute_each'?"]),
        (Short, ["'locate' must take session, requests, state"]),
        (Hooked, ["it has no stage 'editcore_locate'"]),
        (Fast, ["there is no capability 'bacth': did you mean 'batch'?"]),
        (with_hparams(Bare), ["the hyper-parameter 'layer' has no help: declare it with hparam(default, help=…)"]),
        (with_hparams(Wordless), ["the help of the hyper-parameter 'layer' is empty"]),
        (with_hparams(Open), ["its Open is not frozen: write @attrs.frozen above it"]),
        (with_hparams(NoAttrs), ["its NoAttrs is not an attrs class: write @attrs.frozen above it"]),
        (with_hparams(Mapping), ["the hyper-parameter 'rates' is of type dict[str, float], which is not supported"]),
        (with_hparams(Misfit), ["the default of the hyper-parameter 'layer' is 'five', which is not int"]),
        (with_hparams(Unknown), ["the types of Unknown cannot be read: name 'Nothing' is not defined"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_fault_is_one_sentence(cls: Any, said: list[str]) -> None:
    found = class_problems(cls)
    assert len(found) == len(said)
    for sentence, start in zip(found, said, strict=True):
        assert sentence.startswith(start)


def test_an_honest_class_and_all_that_are_installed_have_none() -> None:
    assert class_problems(Honest) == []
    for catalogue in registry().catalogues:
        for cls, _ in catalogue.offers():
            assert class_problems(cls) == [], cls
