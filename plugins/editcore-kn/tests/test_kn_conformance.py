"""Knowledge Neurons keep to what every method must keep to."""

from pathlib import Path

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

SHARED = {
    "other_facts_keep_their_answers": "it rewrites whole neurons, and a small model shares them between facts",
    "a_model_in_16_bits_is_edited": "other neurons pass its threshold there, and these settings are for one model",
    "weights_stored_the_other_way_round_are_edited": "these settings are for one model",
}
PROMPTS = ["The job of {} is that of a", "{} earns a living as a"]  # sampled ones differ between versions of torch


class TestKn(MethodConformance):
    method = "kn"
    not_applicable = SHARED
    hparams = {"steps": 5, "prompts": PROMPTS}


class TestKnOfGpt2(MethodConformance):
    method = "kn"
    not_applicable = SHARED
    hparams = {"steps": 5, "prompts": PROMPTS}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
