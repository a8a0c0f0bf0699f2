"""Cost of computing an update: seconds without those of assets, which are computed once, and the peak of memory."""

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@define
class Meter:
    """Measures its `with` block. `memory`: also the peak, from a record of the process that is reset for it."""

    session: "OpenSession"
    memory: bool
    seconds: float = 0.0
    assets: float = 0.0
    peak_bytes: int | None = None
    _started: float = field(default=0.0, init=False)

    def __enter__(self) -> "Meter":
        if self.memory:
            self._start_peak()
        self.assets = self.session.assets.seconds
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.session.device.type == "cuda":
            torch.cuda.synchronize(self.session.device)
        elapsed = time.perf_counter() - self._started
        self.assets = self.session.assets.seconds - self.assets
        self.seconds = elapsed - self.assets
        if self.memory:
            self.peak_bytes = self._peak()

    def cost(self, n: int) -> dict[str, Any]:
        """For the annotation of a patch: seconds a request of the n, those of assets in all, the peak or None."""
        return {"seconds": self.seconds / n, "assets_seconds": self.assets, "peak_bytes": self.peak_bytes}

    def _start_peak(self) -> None:
        if self.session.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.session.device)
        elif _RESET.exists():
            try:
                _RESET.write_text("5")  # Linux: the largest resident size so far becomes the present one
            except OSError:
                self.memory = False

    def _peak(self) -> int | None:
        """Peak allocation of torch on the device; on a CPU the largest resident size, if Linux reports it."""
        if self.session.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.session.device))
        if not _RESET.exists():
            return None
        lines = _STATUS.read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
