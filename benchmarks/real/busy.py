"""Processes that keep cores busy beside what is measured."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager


def _spin() -> None:
    import torch

    torch.set_num_threads(1)
    a = torch.randn(512, 512)
    while True:
        a = (a @ a).tanh()


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes multiply matrices while the body runs."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.join()
