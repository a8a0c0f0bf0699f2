"""Description and speed of the machine, to read beside every figure."""

import ctypes
import os
import platform
import time
from pathlib import Path

import torch


def describe_machine(threads: int, dtype: str = "float32") -> str:
    return f"torch {torch.__version__}, {threads} threads of {os.cpu_count()} on {platform.machine()}, {dtype}"


def peak_flops(
    rows: int = 160, inner: int = 1024, columns: int = 4096, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> float:
    """FLOP/s of a matrix product (rows, inner) × (inner, columns), the best of several."""
    a, b = torch.randn(rows, inner, device=device).to(dtype), torch.randn(inner, columns, device=device).to(dtype)
    best = 0.0
    for _ in range(20):
        started = time.perf_counter()
        a @ b
        if a.is_cuda:
            torch.cuda.synchronize()
        best = max(best, 2 * rows * inner * columns / (time.perf_counter() - started))
    return best


def peak_memory() -> int:
    """The most memory in bytes that this process had so far.

    Not `ru_maxrss`: that begins with what the process had that started this one.
    """
    return _status("VmHWM:")


def start_peak() -> int:
    """Restart the record of `peak_memory` and return what the process holds now, in bytes.

    Temporaries that were freed before would else hide what comes after them, in the record and in what malloc keeps.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS:")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
