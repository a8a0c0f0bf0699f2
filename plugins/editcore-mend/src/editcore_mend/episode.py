"""What a case is to a trained editor, as token ids: the edit, what it must hold for, and what it must leave alone."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from editcore.authoring.models import Item, encode_prompt
from editcore_hooks import Case, EditcoreError, EditRequest

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen
class Texts:
    """`edit` is the request; `outer` are its rephrases with the new target, `own` the locality probes of the case by
    facet, each scored at its answer. `whole` is the request with its true target, scored at every token, for other
    cases."""

    edit: Item
    outer: tuple[Item, ...]
    own: tuple[tuple[Item, ...], ...]
    whole: Item


@frozen
class Episode:
    """Edits, and the items that are scored under them with the number of the edit of each."""

    requests: tuple[EditRequest, ...]
    edits: tuple[Item, ...]
    outer: tuple[Item, ...]
    outer_of: tuple[int, ...]
    local: tuple[Item, ...]
    local_of: tuple[int, ...]


@define(eq=False)
class Reader:
    """Makes episodes of cases; each is tokenised once."""

    session: "Session"
    _kept: dict[EditRequest, Texts] = field(factory=dict, init=False, repr=False)

    def texts(self, case: Case) -> Texts:
        key = case.request
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._read(case)
        return found

    def episode(self, cases: Sequence[Case], rng: random.Random, local: int) -> Episode:
        """Each case as one edit: it must hold for the request and a rephrase, and leave `local` texts alone: a probe
        of its own where it has one, and texts of other cases. All are drawn from `rng`."""
        outer, local_items = [], []
        every = [self.texts(case) for case in cases]
        for e, one in enumerate(every):
            outer.append((e, one.edit))
            if one.outer:
                outer.append((e, rng.choice(one.outer)))
            own = [(e, rng.choice(rng.choice(one.own)))] if one.own else []
            others = [text.whole for i, text in enumerate(every) if i != e]
            more = rng.sample(others, min(len(others), max(0, local - len(own))))
            local_items += [*own, *((e, item) for item in more)]
        return _episode(cases, every, outer, local_items)

    def whole(self, cases: Sequence[Case]) -> Episode:
        """Each case as one edit, with all its rephrases and the first probe of each facet."""
        every = [self.texts(case) for case in cases]
        outer = [(e, item) for e, one in enumerate(every) for item in one.outer]
        return _episode(cases, every, outer, [(e, item) for e, one in enumerate(every) for item, *_ in one.own])

    def _read(self, case: Case) -> Texts:
        request = case.request
        encoded = self.session.encode(request)
        edit = (encoded.prompt_ids, encoded.target_ids)
        outer = [self._item(prompt, request.target_new, case) for prompt in case.rephrases]
        own = [
            tuple(filter(None, (self._item(one.prompt, one.targets[0], case) for one in probes if one.targets)))
            for probes in case.locality.values()
        ]
        whole = self._item(request.rendered().text, request.target_true or request.target_new, case)
        assert whole is not None
        if not self.session.encoder_decoder:
            ids = (*whole[0], *whole[1]) if request.target_true else tuple(whole[0])
            whole = (ids[:1], ids[1:]) if len(ids) > 1 else whole
        return Texts(edit, tuple(filter(None, outer)), tuple(filter(None, own)), whole)

    def _item(self, prompt: str, target: str, case: Case) -> Item | None:
        """Prompt and target as ids; None for what the model cannot read."""
        request = case.request
        try:
            found = encode_prompt(
                self.session.tokenizer,
                prompt,
                target,
                request.template,
                request.target_prefix,
                encoder_decoder=self.session.encoder_decoder,
            )
        except EditcoreError:
            return None
        if not found.prompt_ids or len(found.ids) > self.session.max_length:
            return None
        return (found.prompt_ids, found.target_ids)


def _episode(
    cases: Sequence[Case],
    every: Sequence[Texts],
    outer: Sequence[tuple[int, Item]],
    local: Sequence[tuple[int, Item]],
) -> Episode:
    return Episode(
        tuple(case.request for case in cases),
        tuple(one.edit for one in every),
        tuple(item for _, item in outer),
        tuple(e for e, _ in outer),
        tuple(item for _, item in local),
        tuple(e for e, _ in local),
    )
