"""What all packages share in their tests: folders of small taught models, and a quiet machine."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from editcore.testing.fixtures import gpt2_folder, llama_folder, sharded_folder
from editcore.threads import SLEEPING

__all__ = ["gpt2_folder", "llama_folder", "sharded_folder"]

THREADS = os.environ.get("EDITCORE_TEST_THREADS", "1")
# Before torch is loaded. One thread for each worker: they, and the commands that tests run, would wait for each other.
os.environ.update({**SLEEPING, "OMP_NUM_THREADS": THREADS})

# On a busy machine an example takes as long as it takes.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a training go to one worker, so that it is trained once."""
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(str(item.path.parent)))


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network, no cache of the user's, and as many threads as EDITCORE_TEST_THREADS says."""
    kept = dict(os.environ)
    os.environ["EDITCORE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.pop("EDITCORE_THREADS", None)
    import torch

    torch.set_num_threads(int(THREADS))
    yield
    os.environ.clear()
    os.environ.update(kept)
