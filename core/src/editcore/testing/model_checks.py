"""Checks of a method on models of another shape or precision than the one that it was written on."""

from pathlib import Path

import torch

from editcore.assets.store import AssetStore
from editcore.facade import Session
from editcore.testing.running import answers
from editcore.testing.taught import taught_model
from editcore.testing.under_test import MethodUnderTest
from editcore_hooks import Site


class ModelChecks(MethodUnderTest):
    """At home on weights stored the other way round, and in 16 bits."""

    def test_weights_stored_the_other_way_round_are_edited(
        self, session: Session, assets: AssetStore, tmp_path: Path
    ) -> None:
        _, _, transposed = session.anatomy.parameter(Site("mlp_out", 0))
        other = taught_model("llama" if transposed else "gpt2", tmp_path / "other")
        self._assert_edits(self.open(other, assets))

    def test_a_model_in_16_bits_is_edited(self, session: Session, assets: AssetStore, tmp_path: Path) -> None:
        folder = tmp_path / "half"
        session.model.to(torch.bfloat16).save_pretrained(folder)
        session.tokenizer.save_pretrained(folder)
        self._assert_edits(self.open(folder, assets, "bfloat16"))  # as an accelerator would run it

    def _assert_edits(self, session: Session) -> None:
        asked = self.tried.asked(session)
        before = answers(session, asked)
        with session.patched(self.tried.patch(session)):
            after = answers(session, asked)
        assert after != before, "the edit changes nothing"
        if "the_target_becomes_likelier" in self.not_applicable:
            return
        for request, old, new in zip(asked, before, after, strict=True):
            assert new > old, (
                f"{request.target_new!r} after {request.rendered().text!r}: log p {old:.3f}, then {new:.3f}"
            )
