"""Knowledge Neurons keep to what every method must keep to."""

from pathlib import Path

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

SHARED = {"other_facts_keep_their_answers": "it rewrites whole neurons, and a small model shares them between facts"}


class TestKn(MethodConformance):
    method = "kn"
    not_applicable = SHARED
    hparams = {"steps": 5, "context_count": 2}


class TestKnOfGpt2(MethodConformance):
    method = "kn"
    not_applicable = SHARED
    hparams = {"steps": 5, "prompts": ["The job of {} is that of a", "{} earns a living as a"]}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
