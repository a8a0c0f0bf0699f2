"""Answerers of the questions of metrics: the current model, or for each case the model with its patch alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, evolve

from editcore.evaluation.engine.model_reader import Edit, Room, largest_rooms, read_all, room_for, told, write_all
from editcore.evaluation.engine.questions import (
    Answer,
    Cost,
    Drift,
    Neutral,
    Question,
    Read,
    Score,
    Scored,
    Unanswered,
    Unshifted,
    Write,
)
from editcore.evaluation.engine.unedited import unedited_of
from editcore.models.running.branches import Branches
from editcore.models.running.packed_reading import Found
from editcore.patches.change.conflicts import facts_of
from editcore.patches.file.patch import Patch
from editcore_hooks import EditRequest

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

Asked = tuple[int, Question]
"""The number of an edited model, -1 for the unedited one, and a question to it."""
UNEDITED = -1
Preface = Callable[[int, str], str]


@define
class Present:
    """The current model, its patches included. `each`: it is the model of the one case that is asked about."""

    session: "OpenSession"
    each: bool = False

    def answer(self, asked: Sequence[Asked], keep: bool) -> list[Any]:
        """Each question is put to each model once, however many metrics ask it."""
        owned = [(UNEDITED if _of_base(question) else self.owner(case), question) for case, question in asked]
        kinds: dict[type, list[Any]] = {}
        for one in dict.fromkeys(owned):
            kinds.setdefault(type(one[1]), []).append(one)
        answers: dict[Asked, Any] = {}
        readable = [*kinds.get(Score, ()), *kinds.get(Unshifted, ())]
        answers |= self._read([one for one in readable if one[0] == UNEDITED], keep)
        answers |= self._read([one for one in readable if one[0] != UNEDITED], keep)
        answers |= self._compare([*kinds.get(Drift, ()), *kinds.get(Neutral, ())], keep)
        written = [*kinds.get(Write, ()), *kinds.get(Answer, ())]
        answers |= self._write([one for one in written if one[0] == UNEDITED], keep)
        answers |= self._write([one for one in written if one[0] != UNEDITED], keep)
        answers |= {one: _cost(self.patches(one[0]), one[1].request) for one in kinds.get(Cost, ())}
        return [answers[one] for one in owned]

    def owner(self, case: int) -> int:
        """The number of the edited model of a case."""
        return 0

    def put(self, owner: int, question: Any) -> Any:
        """The question as the edited model gets it."""
        return question

    def patches(self, owner: int) -> Sequence[Patch]:
        return self.session.live.patches

    @property
    def edit(self) -> Edit | None:
        """Context for running a batch whose rows belong to several owners."""
        return None

    def _read(self, asked: Sequence[tuple[int, Any]], keep: bool) -> Mapping[Asked, Any]:
        questions = [question for _, question in asked]
        if asked and asked[0][0] == UNEDITED:
            found = unedited_of(self.session).read(questions, keep)
        else:
            found = read_all(self.session, [(owner, self.put(owner, one)) for owner, one in asked], edit=self.edit)
        return {one: _scored(one[1], each) for one, each in zip(asked, found, strict=True)}

    def _compare(self, asked: Sequence[tuple[int, Any]], keep: bool) -> Mapping[Asked, Any]:
        before = dict(
            zip(asked, unedited_of(self.session).read([question for _, question in asked], keep), strict=True)
        )
        answers: dict[Asked, Any] = {one: _unread(found) for one, found in before.items()}
        old = {one: found for one, found in before.items() if isinstance(found, Found) and found.top_k is not None}
        distributions = [found.top_k for found in old.values() if found.top_k is not None]
        put = [(owner, self.put(owner, question)) for owner, question in old]
        now = read_all(self.session, put, edit=self.edit, against=distributions)
        for one, new in zip(old, now, strict=True):
            if isinstance(new, Unanswered):  # with a preface, a prompt can be too long
                answers[one] = new
                continue
            kl, nll, unedited = _mean(new.kl), -_mean(new.logprobs), -_mean(old[one].logprobs)
            answers[one] = kl if isinstance(one[1], Drift) else Read(nll, unedited, kl)
        return answers

    def _write(self, asked: Sequence[tuple[int, Any]], keep: bool) -> Mapping[Asked, Any]:
        every = {one: room_for(self.session, one[1] if one[0] == UNEDITED else self.put(*one)) for one in asked}
        rooms = {one: room for one, room in every.items() if isinstance(room, Room)}
        return {**every, **self._write_in(rooms, keep)}

    def _write_in(self, rooms: Mapping[Asked, Room], keep: bool) -> Mapping[Asked, Any]:
        asked: list[tuple[int, Any]] = list(rooms)
        if asked and asked[0][0] == UNEDITED:
            ids = unedited_of(self.session).write([question for _, question in asked], list(rooms.values()), keep)
            return {one: told(self.session, one[1], rooms[one], new) for one, new in zip(asked, ids, strict=True)}
        rows = {one: (one[0], rooms[one].ids) for one in asked}
        largest: dict[Any, Room] = largest_rooms((rows[one], rooms[one]) for one in asked)
        new_ids = write_all(self.session, [(owner, room) for (owner, _), room in largest.items()], edit=self.edit)
        written = dict(zip(largest, new_ids, strict=True))
        return {one: told(self.session, one[1], rooms[one], written[rows[one]]) for one in asked}


@define
class Single(Present):
    """For each case the model with the patch of that case and no other of `own`, by side branches in one batch."""

    own: Sequence[Patch] = ()
    branches: Branches | None = None
    each: bool = True

    def owner(self, case: int) -> int:
        return case

    def patches(self, owner: int) -> Sequence[Patch]:
        return (self.own[owner],)

    @property
    def edit(self) -> Edit | None:
        assert self.branches is not None
        branches, device = self.branches, self.session.device
        return lambda owners: branches.on(torch.tensor(owners, device=device))


@define
class Prefaced(Present):
    """The current model, given a text before each prompt. `preface` gives it by the case's number and the prompt."""

    preface: Preface = lambda case, prompt: ""

    def owner(self, case: int) -> int:
        return case

    def put(self, owner: int, question: Any) -> Any:
        if not isinstance(question, Score | Write | Drift):
            return question
        return evolve(question, prompt=self.preface(owner, question.prompt) + question.prompt)


def _of_base(question: Question) -> bool:
    return isinstance(question, Unshifted) or bool(getattr(question, "unedited", False))


def _cost(patches: Sequence[Patch], request: EditRequest) -> Mapping[str, Any] | None:
    """The cost in the patch of the request; the shape of annotation is never trusted."""
    fact = (request.rendered().text, request.target_new)
    for patch in patches:
        cost = patch.about.get("cost")
        if isinstance(cost, dict) and facts_of(patch).get(fact[0]) == fact[1]:
            return cost
    return None


def _unread(found: Found | Unanswered) -> Unanswered:
    return found if isinstance(found, Unanswered) else Unanswered("the text is a single token")


def _scored(question: Question, found: Found | Unanswered) -> Any:
    if isinstance(found, Unanswered):
        return found
    if isinstance(question, Unshifted):
        return found.logprobs
    return Scored(found.logprobs, found.said, found.hits)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
