"""Check the claims of a method and its settings, and people's expectations, against its behaviour."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from attrs import evolve

from editcore.editing.state import fold_state
from editcore.facade import Session
from editcore.models.running.generation import continuations
from editcore.models.running.prefix_tree import WORTH
from editcore.models.running.scoring import target_logits
from editcore.plugins.hparams import from_mapping
from editcore.testing.running import Method, answers, difference
from editcore.testing.under_test import MethodUnderTest
from editcore_hooks import Case, EditcoreError, EditRequest, Location, State

OTHERS = (
    EditRequest("{} lives in", "Dan Marlow", "Rome"),
    EditRequest("{} works as a", "Eve Quist", "miner"),
    EditRequest("{} has a house in", "Bo Tolland", "Oslo"),
    EditRequest("The job of {} is that of a", "Dan Quist", "judge"),
)


class PromiseChecks(MethodUnderTest):
    """It edits where it is told to, towards what it is told, and leaves the rest."""

    others: ClassVar[tuple[EditRequest, ...]] = OTHERS
    """Facts that the model knows and that no request is about."""
    other_tolerance: ClassVar[float] = 2.0
    """Largest change at the answers of `others`: KL(before ‖ after) in nats, the mean over them."""

    def test_a_given_location_is_obeyed(self, session: Session) -> None:
        other = self._another_place(session)
        _, update = self.tried.stages(session, location=other)
        if not update.tensors:
            pytest.skip("it changes no weights")
        stray = [str(site) for site in update.tensors if site not in other.sites]
        assert stray == [], f"it was told to edit {_shown(other)}, and changes {', '.join(stray)}"

    def test_the_setting_of_its_place_is_obeyed(self, session: Session) -> None:
        other = self._another_place(session)
        place = self.tried.cls(session).place_at(other)
        if not place:
            pytest.skip("no hyper-parameter says where it edits")
        found = Method(self.method, {**self.hparams, **place}, self.requests).located(session)
        assert set(found.sites) == set(other.sites), f"with {dict(place)} it edits {_shown(found)}"

    def test_two_targets_give_two_updates(self, session: Session) -> None:
        one = self.requests[0]
        names = [request.target_new for request in reversed(self.requests) if request.target_new != one.target_new]
        assert names, "`requests` need two targets"
        two = evolve(one, target_new=names[0])
        scores = []
        for request in (one, two):
            with session.patched(self.tried.patch(session, [request])):
                scores.append(answers(session, [one, two]))
        (one_by_one, two_by_one), (one_by_two, two_by_two) = scores
        own, others = one_by_one - two_by_one, one_by_two - two_by_two  # log p(one) / p(two) after each edit
        assert own > others, (
            f"{one.target_new!r} over {two.target_new!r}: {own:.4f} after the edit towards the first, "
            f"{others:.4f} after that towards the second"
        )

    def test_other_facts_keep_their_answers(self, session: Session) -> None:
        before = _distributions(session, self.others)  # (n, V)
        with session.patched(self.tried.patch(session)):
            after = _distributions(session, self.others)
        each = (before.exp() * (before - after)).sum(-1)  # (n,)
        worst = self.others[int(each.argmax())]
        assert float(each.mean()) <= self.other_tolerance, (
            f"KL {float(each.mean()):.3g} > {self.other_tolerance} nats at the answers of facts that are not edited; "
            f"most, {float(each.max()):.3g}, at {worst.rendered().text!r}"
        )

    def test_sequential_means_increments_that_are_read_and_go(self, session: Session) -> None:
        if "sequential" not in self.tried.cls(session).capabilities:
            pytest.skip("it does not read what earlier edits left")
        first, second = self.requests[:2]
        alone = self.tried.patch(session, [second])
        earlier = self.tried.patch(session, [first])
        assert earlier.about.get("state"), "its update has no state_increment for later edits"
        with session.patched(earlier):
            run = self.tried.run(session)
            state = fold_state(session, run.method)
            assert state.patch_ids == (earlier.patch_id,), "the state is not that of the patches that are present"
            forgotten = State(state.stack_hash, (), run.method.fold(()))
            read, unread = (self.tried.sealed(session, [second], of) for of in (state, forgotten))
        assert difference(read, unread) > 0, "it does not read its state: the update is the same without"
        assert fold_state(session, run.method).patch_ids == ()
        assert difference(alone, self.tried.patch(session, [second])) < self.delta_tolerance

    def test_what_it_proposes_are_valid_settings(self, session: Session) -> None:
        cls = self.tried.cls(session)
        for edits in (1, 100):
            facts = {**session.traits(), "edits": edits}
            _assert_valid(cls.Hparams, cls.preset(facts), "preset")
            space = cls.tunable(facts)
            for place in space.places if space is not None else ():
                for recipe in space.recipes if space is not None else ():
                    _assert_valid(cls.Hparams, {**place, **recipe, **space.cheaper}, "tunable")  # type: ignore[union-attr]

    def test_figures_are_the_same_however_much_is_asked_together(self, session: Session) -> None:
        targets = sorted({each.target_new for each in (*self.requests, *self.others)})
        prompts = [request.rendered().text for request in (*self.requests, *self.others)]
        asked = [(prompt, target, None, "auto") for prompt in prompts for target in targets]
        while sum(len(session.tokenizer(prompt)["input_ids"]) for prompt, *_ in asked) < 2 * WORTH:
            asked = [*asked, *((f"{prompt} {target}", target, None, "auto") for prompt, target, *_ in asked)]
        requests = self.tried.asked(session)
        with session.patched(self.tried.patch(session)):
            together = session.score_targets(asked)  # type: ignore[arg-type] # "auto" is a prefix
            alone = [session.score_targets([question])[0] for question in asked]  # type: ignore[list-item]
            (report,) = session.evaluate([Case(request) for request in requests], ["tf.exact@1"])
            written = [self._writes(session, request) for request in requests]
        for question, one, other in zip(asked, together, alone, strict=True):
            said = f"{question[1]!r} after {question[0]!r}: {one.sum:.4f} among others, {other.sum:.4f} alone"
            assert one.logprobs == pytest.approx(other.logprobs, abs=self.score_tolerance), said
        assert [bool(row["value"]) for row in report.rows] == written, "`evaluate` and `generate` differ"

    def _another_place(self, session: Session) -> Location:
        """A location unlike the method's own, a block further up or down, or with one site less."""
        own = self.tried.located(session)
        layers = [site.layer for site in own.sites if site.layer is not None]
        if len(layers) != len(own.sites) or not layers:
            pytest.skip("its place is no block")
        step = 1 if max(layers) + 1 < session.anatomy.n_layers else -1
        if min(layers) + step >= 0:
            moved = tuple(evolve(site, layer=site.layer + step) for site in own.sites if site.layer is not None)
            return evolve(own, sites=moved)
        if len(own.sites) == 1:
            pytest.skip("there is no other block")
        return evolve(own, sites=own.sites[:-1])

    def _writes(self, session: Session, request: EditRequest) -> bool:
        """Whether the model writes the target when it goes on by itself, with its cache."""
        row = session.encode(request)
        (new,) = continuations(session.model, session.tokenizer, [tuple(row.prompt_ids)], len(row.target_ids))
        return tuple(new) == tuple(row.target_ids)


def _distributions(session: Session, requests: Sequence[EditRequest]) -> torch.Tensor:
    """Log-probabilities of every first token of an answer, (n, V)."""
    rows = [session.encode(request) for request in requests]
    with torch.no_grad():
        found = target_logits(session.model, [(row.prompt_ids, row.target_ids[:1]) for row in rows])
    return found.logits.double().log_softmax(-1)


def _assert_valid(hparams: type, values: Any, what: str) -> None:
    try:
        from_mapping(hparams, values)
    except EditcoreError as error:
        raise AssertionError(f"`{what}` gives settings that are refused: {error}") from error


def _shown(location: Location) -> str:
    return ", ".join(map(str, location.sites))
