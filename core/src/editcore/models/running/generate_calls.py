"""`model.generate` of one model, wrapped while something attached needs to know of its calls."""

from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Call = Callable[[dict[str, Any]], Any]
Around = Callable[[dict[str, Any], Call], Any]
"""Is given the arguments by name, and the call to make with them; returns its result."""

_around: "WeakKeyDictionary[PreTrainedModel, dict[str, Around]]" = WeakKeyDictionary()


def wrap(model: "PreTrainedModel", name: str, around: Around) -> None:
    """Let `around` run every call; of several, the alphabetically first name is outermost."""
    table = _around.setdefault(model, {})
    if not table:
        model.generate = _wrapped(model, model.generate)  # type: ignore[assignment, method-assign]
    table[name] = around


def unwrap(model: "PreTrainedModel", name: str) -> None:
    """Undo `wrap`; with the last one, the method is the model's own again."""
    table = _around[model]
    del table[name]
    if not table:
        del model.generate


def _wrapped(model: "PreTrainedModel", plain: Any) -> Any:
    names = tuple(signature(plain).parameters)

    @wraps(plain)
    def generate(*args: Any, **kwargs: Any) -> Any:
        call: Call = partial(_call, plain)
        for _, around in sorted(_around[model].items(), reverse=True):
            call = _inside(around, call)
        return call({**dict(zip(names, args, strict=False)), **kwargs})

    return generate


def _call(plain: Any, given: dict[str, Any]) -> Any:
    return plain(**given)


def _inside(around: Around, call: Call) -> Call:
    return lambda given: around(given, call)
