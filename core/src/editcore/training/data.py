"""Cases to train on: read from a file of cases or of a published layout, and made complete by the model itself.

A case that is there twice counts once, and one that the model cannot read is left out. A case without rephrases gets
its prompt after sentences that the model wrote, so that an edit learns to hold in other words than the request's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from editcore.models.running.generation import sample
from editcore.plugins.registry import Registry
from editcore_hooks import Case, EditcoreError, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

CONTEXTS: Final = 24
LENGTH: Final = 8
EACH: Final = 2
"""Rephrases that a case gets where it has none."""
TOP_K: Final = 5


def read_data(registry: Registry, source: str) -> list[Case]:
    """The cases of `LAYOUT:FILE`, a layout of `editcore datasets`. Raises `UsageError`."""
    layout, colon, path = source.partition(":")
    if not colon or not path:
        raise UsageError(f"there is no file {source}", hint="give a file of cases, or LAYOUT:FILE of a dataset")
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}", hint="see `editcore datasets` for what can be read")
    return list(registry.dataset(layout)().read(Path(path)))


def usable(session: "OpenSession", cases: Sequence[Case]) -> list[Case]:
    """The cases that the model can read, each once and with rephrases. Says what was left out and what was made."""
    once = list({(case.request.rendered().text, case.request.target_new): case for case in cases}.values())
    found, refused = [], ""
    for case in once:
        try:
            _require_readable(session, case)
        except EditcoreError as error:
            refused = refused or str(error)
        else:
            found.append(case)
    if len(found) < len(once):
        session.say(f"left out {len(once) - len(found)} of {len(once)} cases, the first because {refused}")
    bare = sum(not case.rephrases for case in found)
    if not bare:
        return found
    contexts = _written(session)
    session.say(f"{bare} of {len(found)} cases have no rephrase: their prompts after sentences of the model serve")
    return [case if case.rephrases else _with_contexts(case, contexts, i) for i, case in enumerate(found)]


def _require_readable(session: "OpenSession", case: Case) -> None:
    length = len(session.encode(case.request).ids)
    if length > session.max_length:
        raise UsageError(f"{case.request.subject!r} has {length} tokens, and the model reads {session.max_length}")


def _with_contexts(case: Case, contexts: Sequence[str], i: int) -> Case:
    if case.request.template is not None:
        return case  # in a chat a text before the prompt would be the user's
    text = case.request.rendered().text
    return attrs.evolve(case, rephrases=tuple(f"{contexts[(i + k) % len(contexts)]} {text}" for k in range(EACH)))


def _written(session: "OpenSession") -> list[str]:
    """Beginnings of sentences that the model wrote from nothing; of a model with an encoder, plain words of ours."""
    if session.encoder_decoder:
        return ["Question:", "Please answer.", "Tell me:", "A question for you."]
    import torch

    generator = torch.Generator().manual_seed(session.seed)
    with session.at_base():
        rows = sample(session.model, [[session.start_token]] * CONTEXTS, LENGTH, TOP_K, generator)
    texts = [str(session.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in rows]
    ended = [text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text]
    return ended or ["Well."]
