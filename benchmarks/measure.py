"""How everything here is timed: warm-up, device sync, median, memory in a fresh process."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.publish import processor
from infocl.runtime.device import describe_device


def timed(work: Callable[[], object], *, repeats: int = 9, warm_up: int = 2) -> float:
    """Seconds of `work`, the median of several calls, waiting for the device before and after each call."""
    seconds = []
    for _ in range(warm_up + repeats):
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warm_up:])


def in_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work` in a process of its own, which may have children, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_memory_mib(work: Callable[[], object]) -> float:
    """MiB that one call adds to the peak of this process, or of the CUDA device when there is one (Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak starts anew from here
    start = memory_mib("VmRSS")
    work()
    return memory_mib("VmHWM") - start


def memory_mib(key: str, process: int | str = "self") -> float:
    """A figure of a process's memory as Linux names it, such as VmHWM, its peak since it began."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(f"{key}:")).split()[1]) / 1024


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device() -> torch.device:
    """CUDA when there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """The device and the processor, for a page."""
    return f"{describe_device(device())}; {processor()}"
