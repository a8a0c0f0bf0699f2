"""The number of threads of this process. It is settled before torch is loaded, which reads it then.

The count depends on what a process may use and on settings, never on how busy the machine is: sums depend on the number
of threads in their last digits, so a busy machine would give another edit. It costs no time either, because threads
here sleep while they wait. By default they spin, and where another program has a core that one waits for a whole
slice of time: ten times slower for two threads on two busy cores.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from editcore_hooks import UsageError

SETTINGS: Final = ("EDITCORE_THREADS", "OMP_NUM_THREADS")
"""Environment variables that say how many; the first one that is set counts."""
SLEEPING: Final = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
CGROUPS: Final = Path("/sys/fs/cgroup")


def available(cgroups: Path = CGROUPS) -> int:
    """Processors that this process may use: by its affinity, and by the quota of its container."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return affine if quota is None else max(1, min(affine, int(quota)))


def _quota(cgroups: Path) -> float | None:
    """Processors' worth of time that a container may use (control groups, version 2 or 1); None: without a limit."""
    try:
        if (limit := cgroups / "cpu.max").is_file():
            quota, period = limit.read_text("utf-8").split()
        else:
            quota, period = (
                (cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text("utf-8") for name in ("quota", "period")
            )
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None


def requested(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """Threads that a setting asks for; None where none does. Raises `UsageError` if EDITCORE_THREADS is no count."""
    for name in SETTINGS:
        if text := environment.get(name, "").strip():
            first = text.partition(",")[0]  # OpenMP takes a list: one count for each level of nesting
            if first.isdecimal() and int(first) > 0:
                return int(first)
            if name == SETTINGS[0]:
                raise UsageError(f"EDITCORE_THREADS is {text!r}, which is not a count", hint="set it to 1 or more")
    return None


def share(workers: int) -> int:
    """Threads for each of `workers` processes that run side by side."""
    return max(1, (requested() or available()) // workers)


def settle(environment: MutableMapping[str, str] = os.environ) -> None:
    """Write the count into `environment`, for torch and for processes started from here; waiting threads sleep.

    What is set already is kept, except that EDITCORE_THREADS replaces OMP_NUM_THREADS. Raises `UsageError`.
    """
    environment["OMP_NUM_THREADS"] = str(requested(environment) or available())
    for name, value in SLEEPING.items():
        environment.setdefault(name, value)
