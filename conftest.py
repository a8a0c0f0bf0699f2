"""What all packages share in their tests: folders of small taught models, and a quiet machine."""

import os
from collections.abc import Iterator

import pytest

from editcore.testing.fixtures import gpt2_folder, llama_folder, sharded_folder

__all__ = ["gpt2_folder", "llama_folder", "sharded_folder"]


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network, no cache of the user's, and one thread for each worker, or as many as EDITCORE_TEST_THREADS says."""
    kept, threads = dict(os.environ), os.environ.get("EDITCORE_TEST_THREADS", "1")
    os.environ["EDITCORE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OMP_NUM_THREADS"] = threads  # the commands that tests run would wait for each other's threads
    import torch

    torch.set_num_threads(int(threads))
    yield
    os.environ.clear()
    os.environ.update(kept)
