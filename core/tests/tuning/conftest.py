"""A small model with facts, and a method whose best settings are known."""

from pathlib import Path

import pytest

import editcore
from core.tests.tuning.pushing import Plugin
from editcore import Session
from editcore.assets.store import AssetStore
from editcore.plugins.registry import Registry


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path), registry_=Registry.of(Plugin()))
