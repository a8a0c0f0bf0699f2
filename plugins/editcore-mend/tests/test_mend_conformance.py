"""MEND keeps to what every method must keep to, with an editor that was trained for a few steps."""

from pathlib import Path
from typing import Any

import pytest

from editcore.assets.store import AssetStore
from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model
from editcore.testing.training import opened, shortly_trained

SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 5e-4, "lr": 3e-3, "layers": [1, 2]}
BASE = "it was trained for one base, and asks for another training on another"
PLACE = "where it edits was decided when its editor was trained; another location is refused"


class TestMend(MethodConformance):
    method = "mend"
    settings = SETTINGS
    not_applicable = {
        "a_given_location_is_obeyed": PLACE,
        "the_setting_of_its_place_is_obeyed": PLACE,
        "weights_stored_the_other_way_round_are_edited": BASE,
        "a_model_in_16_bits_is_edited": BASE,
    }

    @pytest.fixture(scope="class")
    @classmethod
    def assets(cls, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AssetStore:
        place = tmp_path_factory.mktemp("assets")
        session = opened(folder, place)
        shortly_trained(session, "mend", {"steps": 12}, **cls.settings)
        return session.assets


@pytest.mark.thorough
class TestMendOnGpt2(TestMend):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


class TestMendOnT5(TestMend):
    settings = {"rank": 16, "edit_lr": 3e-3, "lr": 3e-3, "layers": [1]}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
