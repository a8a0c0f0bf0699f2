"""The stages that a class must have. Checked where the class is defined, so a misspelt one fails in its own file."""

from collections.abc import Mapping
from difflib import get_close_matches


def require_stages(cls: type, base: type, stages: Mapping[str, str]) -> None:
    """Raise `TypeError` where `cls` has a name and lacks a stage, as a plain method or as the hook of that stage.

    `stages` maps the plain name to the hook, `locate` to `editcore_locate`. A plain method below a hook that takes its
    place would never be called, and is refused as well.
    """
    if not isinstance(getattr(cls, "name", None), str):
        return  # a class for others to inherit from; it cannot be registered
    for plain, hook in stages.items():
        own, hooked = _depth(cls, base, plain), _depth(cls, base, hook)
        if own is None and hooked is None:
            raise TypeError(f"{cls.__qualname__} does not define {plain!r}{_meant(cls, base, plain, hook)}")
        if own is not None and hooked is not None and own < hooked:
            taking = cls.__mro__[hooked].__qualname__
            raise TypeError(
                f"{plain!r} of {cls.__qualname__} would never be called: {hook!r} of {taking} takes its place"
            )


def _depth(cls: type, base: type, name: str) -> int | None:
    """The position among the classes above `cls` that defines the name first; None if only `base` has it."""
    above = cls.__mro__[: cls.__mro__.index(base)]
    return next((depth for depth, one in enumerate(above) if name in vars(one)), None)


def _meant(cls: type, base: type, plain: str, hook: str) -> str:
    above = cls.__mro__[: cls.__mro__.index(base)]
    own = {name for one in above for name in vars(one) if name not in vars(base)}
    near = get_close_matches(plain, own, 1, 0.75) or get_close_matches(hook, own, 1, 0.85)
    return f"; is {near[0]!r} misspelt?" if near else ""
