"""The most memory that was in use since a moment: of the accelerator where the model is on one, else of the process."""

from pathlib import Path
from typing import Final

import torch

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")


def start_watching(device: torch.device) -> None:
    """Forget the peak so far. Where the system cannot, the peak stays that of the process's life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR.write_text("5")  # Linux: the high-water mark of the resident set becomes the present size
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Bytes, the model itself included."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.is_file():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
