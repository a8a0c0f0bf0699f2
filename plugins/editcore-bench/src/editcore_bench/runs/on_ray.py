"""Cells on a Ray cluster, or on workers of this machine that Ray starts. Needs `editcore-bench[ray]`."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from editcore_bench.runs.engines import Tick
from editcore_bench.runs.work import Done, Failed, Task, run_task
from editcore_hooks import EditcoreError, UsageError


@frozen
class OnRay:
    """`address` is that of a cluster that runs (`auto` finds it); without one Ray starts `workers` processes here.

    A worker has one processor, and one accelerator when the spec's machine is one. A model is named by its hub id, or
    by a folder that every machine of the cluster sees under the same path.
    """

    workers: int
    address: str | None = None

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        ray = _ray()
        here = {"num_cpus": self.workers} if self.address is None else {"address": self.address}
        try:
            ray.init(**here, include_dashboard=False, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EditcoreError(f"Ray did not start: {error}", hint="check --address, or leave it out") from error
        remote = ray.remote(run_task)
        try:
            waiting: dict[Any, Task] = {}
            for task in tasks:
                gpus = 0 if task.machine.device == "cpu" else 1
                waiting[remote.options(num_cpus=1, num_gpus=gpus).remote(task)] = task
            while waiting:
                (ended,), _ = ray.wait(list(waiting), num_returns=1)
                task = waiting.pop(ended)
                tick(task.edits)
                yield task, _outcome(ray, ended)
        finally:
            ray.shutdown()


def _outcome(ray: Any, ended: Any) -> Done | Failed:
    try:
        outcome: Done | Failed = ray.get(ended)
    except ray.exceptions.RayError as error:  # a machine that went away, a worker that ran out of memory
        return Failed(f"Ray: {str(error).strip().splitlines()[0]}", str(error))
    return outcome


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed", hint="pip install 'editcore-bench[ray]'") from error
    return ray
