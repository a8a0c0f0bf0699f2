"""Nets that were trained once for all tests, on the facts of the taught GPT-2."""

from pathlib import Path

import pytest

from editcore.assets.store import AssetStore
from editcore.testing.training import opened, shortly_trained


@pytest.fixture(scope="session")
def trained(gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AssetStore:
    session = opened(gpt2_folder, tmp_path_factory.mktemp("trained"))
    shortly_trained(session, "serac", {"steps": 75, "batch": 24, "every": 75}, lr=3e-3)
    return session.assets
