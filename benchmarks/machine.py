"""What the machine is and can do: every figure is read beside it."""

import os
import platform
import time

import torch


def describe_machine(threads: int) -> str:
    return f"torch {torch.__version__}, {threads} threads of {os.cpu_count()} on {platform.machine()}, float32"


def peak_flops(rows: int = 160, width: int = 1024) -> float:
    """FLOP/s of a matrix product (rows, width) × (width, 4 width), the best of several."""
    a, b = torch.randn(rows, width), torch.randn(width, 4 * width)
    best = 0.0
    for _ in range(20):
        started = time.perf_counter()
        a @ b
        best = max(best, 2 * rows * width * 4 * width / (time.perf_counter() - started))
    return best
