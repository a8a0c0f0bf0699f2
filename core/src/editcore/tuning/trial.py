"""Scores of edits without writing weights: the target, generalisation, other facts, unrelated text."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import exp, floor
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import field, frozen
from torch import Tensor

from editcore.editing.compute import compute_patches, compute_update, compute_updates
from editcore.editing.prepared import PreparedMethod
from editcore.editing.update_to_patch import seal_update
from editcore.models.running.branches import Branches, branch
from editcore.models.running.scoring import Item, target_logprobs
from editcore.models.tokens.spans import encode_prompt
from editcore.tuning.facts import sentences
from editcore.tuning.unrelated import Unrelated
from editcore_hooks import Case, Dense, EditcoreError, LowRank, Update

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

HELD_OUT: Final = 2
"""Sentences of its own, put before the prompt of every fact: contexts that no edit was computed in. A model with an
encoder writes none."""


@frozen
class Outcome:
    """Scores in 0 to 1 of one edit: is the new target preferred (`target`), also in other words and contexts
    (`general`), and is it not, where another fact is asked (`local`)? `kl` in nats a token, on unrelated text.

    A preference is σ of the difference of mean log-probabilities, so that a near miss counts for something. None
    where the case asks nothing. `took`: the target is preferred on the prompt itself.
    """

    target: float
    general: float | None
    local: float | None
    kl: float
    took: bool

    @property
    def mean(self) -> float:
        """Scores of the case's questions."""
        return fmean(part for part in (self.target, self.general, self.local) if part is not None)


def shown(score: float) -> str:
    """In two digits, rounded down: a score just below a limit does not read as the limit."""
    return f"{floor(score * 100 + 1e-9) / 100:.2f}"


@frozen
class Summary:
    """Means over edits; `score` is the harmonic mean of target, generalisation and locality, less what unrelated text
    has suffered: locality counts e^(−KL) of itself."""

    target: float
    general: float
    local: float
    kl: float
    score: float
    n: int

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Summary":
        target = fmean(outcome.target for outcome in outcomes)
        general = _mean([outcome.general for outcome in outcomes], target)
        local = _mean([outcome.local for outcome in outcomes], 1.0)
        kl = fmean(outcome.kl for outcome in outcomes)
        parts = (target, general, local * exp(-kl))
        score = 0.0 if min(parts) <= 0 else len(parts) / sum(1 / part for part in parts)
        return cls(target, general, local, kl, score, len(outcomes))


def _mean(values: Sequence[float | None], without: float) -> float:
    known = [value for value in values if value is not None]
    return fmean(known) if known else without


@frozen(eq=False)
class Bench:
    """Cases made ready to score: every question once as token ids, and what the model says on unrelated text."""

    session: "OpenSession"
    cases: tuple[Case, ...]
    questions: tuple[tuple["_Question", ...], ...] = field(repr=False)
    unrelated: Unrelated = field(repr=False)

    @classmethod
    def of(cls, session: "OpenSession", cases: Sequence[Case], text: Sequence[str] = ()) -> "Bench":
        """`text` are sentences for contexts and drift; without any the model writes them."""
        contexts = list(text[:HELD_OUT])
        if not text and not session.encoder_decoder:
            contexts = sentences(session, HELD_OUT, salt=1)
        questions = tuple(tuple(_questions(session, case, contexts)) for case in cases)
        return cls(session, tuple(cases), questions, Unrelated.of(session, cases, text[HELD_OUT:]))

    def outcomes(self, run: PreparedMethod, chosen: Sequence[int], together: int = 1) -> list[Outcome]:
        """Edit the chosen cases by the method as it is set, alone or `together`, and score each on what it gave.

        Raises what the method does.
        """
        if together > 1:
            groups = [chosen[start : start + together] for start in range(0, len(chosen), together)]
            return [outcome for group in groups for outcome in self._jointly(run, group)]
        requests = [self.cases[i].request for i in chosen]
        with self.session.silence():  # what a method says of an edit is of no use in a trial
            updates = compute_updates(self.session, run, requests)
        if all(_in_branches(update) for update in updates):
            return self._by_branches(updates, chosen)
        patches = compute_patches(self.session, requests, run)
        found = []
        for i, patch in zip(chosen, patches, strict=True):
            with self.session.patched(patch):
                found += self._score([i], None)
        return found

    def _jointly(self, run: PreparedMethod, chosen: Sequence[int]) -> list[Outcome]:
        """One update of all the chosen cases, and each scored on it."""
        requests = [self.cases[i].request for i in chosen]
        with self.session.silence():
            update = compute_update(self.session, run, requests)
        if _in_branches(update):
            with branch(self.session.anatomy, update.tensors):  # type: ignore[arg-type]
                return self._score(chosen, None)
        with self.session.patched(seal_update(self.session, run, requests, update)):
            return self._score(chosen, None)

    def _by_branches(self, updates: Sequence[Update], chosen: Sequence[int]) -> list[Outcome]:
        parts: list[Mapping[Any, LowRank | Dense]] = [update.tensors for update in updates]  # type: ignore[misc]
        return self._score(chosen, Branches.of(self.session.anatomy, parts))

    def _score(self, chosen: Sequence[int], branches: Branches | None) -> list[Outcome]:
        model = self.session.model
        asked = [(e, question) for e, i in enumerate(chosen) for question in self.questions[i]]
        items: list[Item] = [item for _, question in asked for item in (question.new, question.true)]
        owners = [e for e, _ in asked for _ in range(2)]
        owner = torch.tensor(owners, device=model.device)

        def edited(rows: Tensor) -> AbstractContextManager[Any]:
            return branches.on(rows) if branches is not None else nullcontext()

        scores = target_logprobs(model, items, owners=owners, around=lambda batch: edited(owner[list(batch)]))
        gaps: list[dict[str, list[float]]] = [{} for _ in chosen]
        for number, (e, question) in enumerate(asked):
            new, true = scores[2 * number].mean, scores[2 * number + 1].mean
            gaps[e].setdefault(question.kind, []).append(new - true)
        found, kl = [], 0.0
        for e, gap in enumerate(gaps):
            if e == 0 or branches is not None:  # one update for all disturbs other text in one way
                own = chosen if branches is None else [chosen[e]]
                rows = torch.full((len(self.unrelated.rows.lengths),), e, device=model.device)
                kl = self.unrelated.drift(edited(rows), own)
            found.append(
                Outcome(
                    fmean(map(_sigmoid, gap["target"])),
                    fmean(map(_sigmoid, gap["general"])) if "general" in gap else None,
                    fmean(_sigmoid(-g) for g in gap["local"]) if "local" in gap else None,
                    kl,
                    gap["target"][0] > 0,
                )
            )
        return found


def _in_branches(update: Update) -> bool:
    """Whether rows of a batch can run with it beside the weights."""
    return update.payload is None and all(isinstance(part, LowRank | Dense) for part in update.tensors.values())


@frozen
class _Question:
    kind: str
    new: Item
    true: Item


def _questions(session: "OpenSession", case: Case, contexts: Sequence[str]) -> Iterator[_Question]:
    request = case.request
    prompt = request.rendered().text
    if request.target_true is None:
        raise EditcoreError(f"the case {request.id} has no target_true", hint="add it: tuning compares with it")
    asked = [("target", prompt, request.target_true)]
    asked += [("general", f"{context} {prompt}", request.target_true) for context in contexts]
    asked += [("general", text, request.target_true) for text in case.rephrases]
    asked += [("local", p.prompt, p.targets[0]) for p in case.locality.get("neighbour", ()) if p.targets]
    for kind, text, true in asked:
        new, old = (
            encode_prompt(
                session.tokenizer,
                text,
                target,
                request.template,
                request.target_prefix,
                encoder_decoder=session.encoder_decoder,
            )
            for target in (request.target_new, true)
        )
        yield _Question(kind, (new.prompt_ids, new.target_ids), (old.prompt_ids, old.target_ids))


def _sigmoid(gap: float) -> float:
    return 1 / (1 + exp(-gap)) if gap >= 0 else exp(gap) / (1 + exp(gap))
