"""Engines run cells in this process, or in several of this machine. They write nothing."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from editcore.authoring.sources import settle, share
from editcore_bench.runs.work import Done, Failed, Task, run_task

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

Tick = Callable[[int], None]


class Engine(Protocol):
    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        """Run tasks, in any order; each comes back with its outcome as it ends. `tick` counts edits."""


@frozen
class Here:
    """In this process, one after another, with all its threads."""

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        for task in tasks:
            yield task, run_task(task, tick)


@frozen
class Processes:
    """In `workers` processes of this machine, which share its threads evenly."""

    workers: int

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        threads = share(self.workers)
        # spawned: a fork of a process that has run torch may wait for threads it does not have
        context = multiprocessing.get_context("spawn")
        ticks = context.SimpleQueue()
        with ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(threads, ticks)) as pool:
            waiting = {pool.submit(_work, task): task for task in tasks}
            try:
                while waiting:
                    ended, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    while not ticks.empty():
                        tick(ticks.get())
                    for future in ended:
                        yield waiting.pop(future), _outcome(future)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _outcome(future: "Future[Done | Failed]") -> Done | Failed:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Failed("a worker was ended from outside, perhaps for lack of memory: use fewer --workers", str(error))


_ticks: "SimpleQueue[int] | None" = None
"""Connection of a worker to its parent."""


def _work(task: Task) -> Done | Failed:
    assert _ticks is not None
    return run_task(task, _ticks.put)


def _begin(threads: int, ticks: "SimpleQueue[int]") -> None:
    global _ticks
    _ticks = ticks
    settle()  # before torch is loaded
    import threading

    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
