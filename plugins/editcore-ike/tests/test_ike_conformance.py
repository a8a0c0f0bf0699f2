"""IKE and its siblings keep to what every method must keep to."""

import json
from pathlib import Path
from typing import Any

import pytest

from editcore.testing.conformance import MethodConformance, PatchKindConformance

NOT = {
    "only_located_tensors_are_touched": "it touches no tensor",
    "the_target_becomes_likelier": "the taught model knows no sentence that repeats a fact before it",
    "two_targets_give_two_updates": "for the same reason",
    "a_site_that_is_not_there_is_refused": "it edits no site",
    "other_facts_keep_their_answers": "the taught model reads short sentences only",
}


class TestRetrieval(MethodConformance):
    method = "retrieval"
    not_applicable = NOT


class TestIkePrompt(MethodConformance):
    method = "ike-prompt"
    not_applicable = NOT


class TestIke(MethodConformance):
    method = "ike"
    hparams: Any = {}
    not_applicable = NOT

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _corpus(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        path: Path = tmp_path_factory.mktemp("corpus") / "cases.jsonl"
        rows = [
            {"id": name, "prompt": "{} lives in", "subject": name, "target_new": "Rome"}
            for name in ("Dan Marlow", "Eve Quist")
        ]
        path.write_text("\n".join(map(json.dumps, rows)))
        cls.hparams = {"corpus": str(path), "demonstrations": 2}


@pytest.mark.thorough
class TestFactsKind(PatchKindConformance):
    patch_kind = "ike.facts"
    method = "retrieval"
