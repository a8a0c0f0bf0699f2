"""What rewrites the prompts of a model, by model: nothing for most."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Row = tuple[int, ...]
Rewrite = Callable[[Sequence[Row]], Sequence[Row]]
"""The ids that are read in place of those of each prompt."""

_attached: "WeakKeyDictionary[PreTrainedModel, Rewrite]" = WeakKeyDictionary()


def rewriting(model: "PreTrainedModel") -> Rewrite | None:
    """What rewrites the prompts of `model`, None where nothing does."""
    return _attached.get(model)


def set_rewriting(model: "PreTrainedModel", rewrite: Rewrite | None) -> None:
    """Let `rewrite` rewrite them from now on; None: nothing."""
    _attached.pop(model, None)
    if rewrite is not None:
        _attached[model] = rewrite


@contextmanager
def as_given(model: "PreTrainedModel") -> Iterator[None]:
    """In the body, prompts are read as they are: they were rewritten before."""
    before = _attached.pop(model, None)
    try:
        yield
    finally:
        if before is not None:
            _attached[model] = before
