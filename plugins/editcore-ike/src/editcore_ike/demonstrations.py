"""Demonstrations of IKE: how a new fact is copied, carried over to other wordings, and kept from other questions.

New Fact: f y*        copy    p = f, a = y*
Prompt: p a           update  p a rephrased prompt, a = y*
                      retain  p a prompt about something else, a = its old answer
"""

import random
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from editcore.authoring.evaluation import read_cases
from editcore_hooks import Case, UsageError

SHARES = (("copy", 4), ("update", 12), ("retain", 16))
"""Of 32 demonstrations, as published."""


def read_corpus(path: str) -> list[Case]:
    """The cases of a file. Raises `UsageError` where it cannot be read or holds none."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the corpus {path}: {error.strerror}", hint="--set corpus=FILE") from error
    cases = list(read_cases(lines, path))
    if not cases:
        raise UsageError(f"the corpus {path} holds no case", hint="--set corpus=FILE")
    return cases


def fact(case: Case) -> str:
    """The fact of a case as one line."""
    return joined(case.request.rendered().text, case.request.target_new)


def joined(prompt: str, answer: str) -> str:
    """A prompt and its answer, with one blank between them."""
    return f"{prompt.rstrip()} {answer.strip()}"


def demonstrations(cases: Sequence[Case], similar: Tensor, k: int, seed: int) -> str:
    """k demonstrations from the cases most `similar` (n,) to the edit, the most similar last, their kinds shuffled.

    A case without what its kind needs gives a copy.
    """
    order = similar.argsort(descending=True).tolist()[:k]
    total = sum(share for _, share in SHARES)
    kinds = [kind for kind, share in SHARES for _ in range(round(k * share / total))]
    kinds = (kinds + ["retain"] * k)[: len(order)]
    random.Random(seed).shuffle(kinds)
    return "".join(_one(cases[i], kind) for i, kind in zip(reversed(order), kinds, strict=True))


def _one(case: Case, kind: str) -> str:
    prompt, answer = case.request.rendered().text, case.request.target_new
    if kind == "update" and case.rephrases:
        prompt = case.rephrases[0]
    if kind == "retain":
        probes = [probe for some in case.locality.values() for probe in some if probe.targets]
        if probes:
            prompt, answer = probes[0].prompt, probes[0].targets[0]
    return f"New Fact: {fact(case)}\nPrompt: {joined(prompt, answer)}\n\n"
