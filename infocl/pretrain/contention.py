"""Whether other programs keep the cores busy that the threads of this run need."""

from __future__ import annotations

import os
import time

import psutil
import torch

SECONDS = 5.0  # between two looks at the machine
SLOW = 0.7  # of the fastest window: what a run may lose before it is worth a line


class Contention:
    """Notices once that the threads of a run on the CPU wait for each other, and what helps.

    Threads of one step meet many times. Where one has to share its core, all wait for it: on two cores,
    beside one busy program, two threads are slower than one. The number of threads is not chosen here,
    because another number rounds differently: the seed would no longer decide the weights.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._watching = self._threads > 1 and bool(self._cores)
        self._fastest: float | None = None
        self._mark = self._times()

    def notice(self, images_per_second: float) -> str | None:
        """What to tell the user after a window of this speed; None where there is nothing new."""
        if not self._watching or time.perf_counter() - self._mark[0] < SECONDS:
            return None
        now = self._times()
        wall, busy, own = (after - before for after, before in zip(now, self._mark, strict=True))
        others, self._mark = (busy - own) / wall, now
        slower = self._fastest is None or images_per_second < SLOW * self._fastest
        self._fastest = max(images_per_second, self._fastest or 0)
        better = max(1, round(len(self._cores) - others))
        if better >= self._threads or not slower:
            return None
        self._watching = False
        return (
            f"Other programs keep {others:.1f} of the {len(self._cores)} cores busy, and the {self._threads} "
            f"threads of this run wait for each other ({round(images_per_second, 1):g} images/s, at best "
            f"{round(self._fastest, 1):g}); a run with OMP_NUM_THREADS={better} may be faster (stop this one "
            "and start it again: it continues from its checkpoint, though no longer bit for bit)"
        )

    def _times(self) -> tuple[float, float, float]:
        """Seconds on the clock, of these cores at work, and of this process at work."""
        cores = psutil.cpu_times(percpu=True)
        busy = sum(sum(cores[core]) - cores[core].idle - cores[core].iowait for core in self._cores)
        return time.perf_counter(), busy, time.process_time()
