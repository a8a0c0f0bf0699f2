"""SERAC keeps to what every method must keep to, with nets that were trained for a few steps."""

from pathlib import Path

import pytest

from editcore.assets.store import AssetStore
from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

BASE = "it was trained for one base, and asks for another training on another"


class TestSerac(MethodConformance):
    method = "serac"
    not_applicable = {
        "only_located_tensors_are_touched": "it touches no tensor",
        "a_site_that_is_not_there_is_refused": "it edits no site",
        "a_given_location_is_obeyed": "it edits no site",
        "the_setting_of_its_place_is_obeyed": "where it reads was decided when it was trained",
        "weights_stored_the_other_way_round_are_edited": BASE,
        "a_model_in_16_bits_is_edited": BASE,
    }

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)

    @pytest.fixture(scope="class")
    @classmethod
    def assets(cls, trained: AssetStore) -> AssetStore:
        return trained  # assets belong to weights, not to a folder
