"""Checks of a kind of patch: it comes off without a trace, reads rows and caches right, and refuses a broken patch."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from editcore.facade import Session
from editcore.models.running.prefix_tree import WORTH
from editcore.patches.file.patch import Patch
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.running import Method, logprobs
from editcore.testing.snapshot import Snapshot
from editcore_hooks import CardLines, EditRequest, Named, PatchKind

NEW_TOKENS = 6


class PatchKindChecks(DeclaredChecks):
    """Tried with patches that a method of the same plugin makes; override `made` for another source."""

    patch_kind: ClassVar[str]
    method: ClassVar[str]
    method_hparams: ClassVar[Mapping[str, Any]] = {}

    @property
    def cls(self) -> type[Named]:
        return self.known.patch_kinds.get(self.patch_kind)

    @property
    def owner(self) -> PatchKind:
        owner = self.cls()
        assert isinstance(owner, PatchKind)
        return owner

    def made(self, session: Session, request: EditRequest) -> Patch:
        """A patch of this kind."""
        tried = Method(self.method, self.method_hparams, (request,))
        patch = tried.patch(session)
        assert patch.core.get("payload", {}).get("kind") == self.patch_kind, "the method makes patches of another kind"
        return patch

    def test_it_comes_off_without_a_trace(self, session: Session) -> None:
        one, other = (self.made(session, request) for request in self.requests[:2])
        before, plain = Snapshot.of(session.model), logprobs(session, self.requests)
        with session.patched(one):
            alone = logprobs(session, self.requests)
            with session.patched(other):
                both = logprobs(session, self.requests)
            assert torch.equal(logprobs(session, self.requests), alone), "the second patch leaves a trace"
        assert before.changes(Snapshot.of(session.model)) == []
        assert torch.equal(logprobs(session, self.requests), plain), "the model answers otherwise after the patch"
        assert not torch.equal(alone, plain), "the patch changes nothing"
        assert not torch.equal(both, alone), "a second patch changes nothing"

    def test_patches_come_off_in_any_order(self, session: Session) -> None:
        one, other = (self.made(session, request) for request in self.requests[:2])
        owner, before = self.owner, Snapshot.of(session.model)
        handles = [owner.attach(session, patch) for patch in (one, other)]
        owner.detach(session, handles[0])
        left = logprobs(session, self.requests)
        owner.detach(session, handles[1])
        assert before.changes(Snapshot.of(session.model)) == []
        with session.patched(other):
            expected = logprobs(session, self.requests)
        assert torch.equal(left, expected), "taking the first patch off changes the second"

    def test_a_row_answers_alike_alone_and_among_others(self, session: Session) -> None:
        with session.patched(self.made(session, self.requests[0])):
            alone = torch.cat([logprobs(session, [request]) for request in self.requests])  # (n,)
            together = logprobs(session, self.requests)
        torch.testing.assert_close(together, alone, rtol=0, atol=self.score_tolerance)

    def test_the_side_of_padding_does_not_matter(self, session: Session) -> None:
        with session.patched(self.made(session, self.requests[0])):
            left, right = logprobs(session, self.requests, "left"), logprobs(session, self.requests, "right")
        torch.testing.assert_close(left, right, rtol=0, atol=self.score_tolerance)

    def test_texts_read_as_a_tree_answer_alike(self, session: Session) -> None:
        # texts that differ in their last token alone, so that a column's neighbour is another text's
        ends = ("", *(f" {letter}" for letter in "abcdefghijklmno"))
        asked: Any = [(f"{one.rendered().text}{end}", "pilot", None, "auto") for one in self.requests for end in ends]
        while sum(len(session.tokenizer(prompt)["input_ids"]) for prompt, *_ in asked) < 2 * WORTH:
            asked = [*asked, *((f"Bo {prompt}", *rest) for prompt, *rest in asked)]
        with session.patched(self.made(session, self.requests[0])):
            together = session.score_targets(asked)
            alone = [session.score_targets([question])[0] for question in asked]
        for one, other in zip(together, alone, strict=True):
            assert abs(one.sum - other.sum) <= self.score_tolerance, "see `reads_branches`"

    def test_it_writes_alike_with_and_without_a_cache(self, session: Session) -> None:
        ids = torch.tensor([session.encode(self.requests[0]).prompt_ids], device=session.device)
        settings: Any = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "attention_mask": ids.new_ones(ids.shape)}
        with session.patched(self.made(session, self.requests[0])):
            found = [session.model.generate(ids, use_cache=kept, **settings) for kept in (True, False)]  # type: ignore[operator]
        cached, plain = (ids[0].tolist() for ids in found)
        assert cached == plain, "its answer depends on what the model keeps between tokens"

    def test_it_describes_itself_in_json(self, session: Session) -> None:
        one, other = (self.made(session, request) for request in self.requests[:2])
        json.dumps(dict(self.owner.describe(one)), allow_nan=False)
        assert not self.owner.diff(one, one), "a patch differs from itself"
        json.dumps({name: list(pair) for name, pair in self.owner.diff(one, other).items()}, allow_nan=False)
        card = self.owner.card(one, "one.safetensors")
        assert isinstance(card, CardLines)
        assert card.what.strip(), "the model card has no sentence on the patch"

    def test_the_host_knows_its_places(self, session: Session) -> None:
        patch = self.made(session, self.requests[0])
        named = self.owner.places(patch, session.anatomy)
        with session.patched(patch):
            used = session.live.memories.sites
        assert used <= set(named), f"`places` leaves out {', '.join(map(str, sorted(used - set(named), key=str)))}"

    def test_a_patch_without_its_parts_is_refused(self, session: Session) -> None:
        patch = self.made(session, self.requests[0])
        core = dict(patch.core)
        parts, tensors = core["payload"]["parts"], patch.tensors
        assert self.owner.check(core, tensors) is None, "it refuses its own patch"
        emptied = {**core, "payload": {**core["payload"], "data": {}, "parts": {}}}
        if parts:
            assert self.owner.check(emptied, {}), "`check` accepts a patch without tensors"
            assert self.owner.check(emptied), "`check` accepts a manifest without tensors"
