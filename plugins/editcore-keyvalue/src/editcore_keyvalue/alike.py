"""Other subjects in the place of the edited one, which the update must leave alone.

Keys of subjects of one kind are alike in the same place of the same sentence: what makes France's capital Rome makes
Germany's Rome too. C tells them apart as far as the text that it was read from has them apart, so hardly in a script
that this text does not have. `names.txt` holds names that people ask about, one script a line.
"""

from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import attrs
import regex
import torch
from torch import Tensor

from editcore.authoring.models import Tap, Trace, encode_request, forward, pad, token_index
from editcore_hooks import EditRequest, Site, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session

USUAL: Final = "Latin"


@cache
def names() -> dict[str, tuple[str, ...]]:
    """Names by script, as Unicode calls it; Kana stands for Hiragana and Katakana."""
    lines = files("editcore_keyvalue").joinpath("names.txt").read_text("utf-8").splitlines()
    parts = (line.split(": ", 1) for line in lines)
    return {script: tuple(listed.split(", ")) for script, listed in parts}


def script_of(text: str) -> str:
    """The script of `names` that most letters of `text` are of; Latin where there is none."""
    counts = {script: len(regex.findall(_pattern(script), text)) for script in names()}
    found = max(counts, key=counts.__getitem__)
    return found if counts[found] else USUAL


def alike(request: EditRequest, count: int | None = None) -> tuple[str, ...]:
    """All names, or the first `count`, in the script of the subject, but those that overlap with it."""
    subject = request.subject.casefold()
    apart = (name for name in names()[script_of(request.subject)] if not _overlap(name.casefold(), subject))
    return tuple(apart)[:count]


def alike_keys(session: "Session", request: EditRequest, token: str, site: Site, count: int) -> Tensor:
    """The keys (m, f) that the edited token's place has where the prompt is about others, float64.

    A name that the tokenizer cannot write is left out.
    """
    rows: list[tuple[int, ...]] = []  # each ends with the edited token
    for name in alike(request, count):
        with suppress(UsageError):
            encoded = encode_request(session.tokenizer, attrs.evolve(request, subject=name))
            rows.append(tuple(encoded.ids[: token_index(encoded, token) + 1]))
    if not rows:
        return torch.zeros(0, session.anatomy.weight(site).shape[1], dtype=torch.float64, device=session.device)
    with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
        forward(session.model, pad(rows).to(session.device))
    keys = [found[len(row) - 1] for found, row in zip(trace.input(site), rows, strict=True)]  # (f,) each
    return torch.stack(keys).double()


def _pattern(script: str) -> str:
    return r"[\p{Hiragana}\p{Katakana}]" if script == "Kana" else rf"\p{{{script}}}"


def _overlap(one: str, other: str) -> bool:
    return one in other or other in one
