"""MALMEN and RLEdit keep to what every method must keep to, with editors that were trained for a few steps."""

from pathlib import Path
from typing import Any

import pytest

from editcore.assets.store import AssetStore
from editcore.testing.conformance import MethodConformance
from editcore.testing.training import opened, shortly_trained

BASE = "it was trained for one base, and asks for another training on another"
PLACE = "where it edits was decided when its editor was trained; another location is refused"
SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 2e-3, "layers": [1, 2]}


class TestMalmen(MethodConformance):
    method = "malmen"
    not_applicable = {
        "a_given_location_is_obeyed": PLACE,
        "the_setting_of_its_place_is_obeyed": PLACE,
        "weights_stored_the_other_way_round_are_edited": BASE,
        "a_model_in_16_bits_is_edited": BASE,
    }

    @pytest.fixture(scope="class")
    @classmethod
    def assets(cls, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AssetStore:
        session = opened(folder, tmp_path_factory.mktemp("assets"))
        shortly_trained(session, cls.method, {"steps": 12, "batch": 8}, **SETTINGS)
        return session.assets


class TestRlEdit(TestMalmen):
    method = "rledit"
