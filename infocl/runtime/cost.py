"""What a run cost."""

from __future__ import annotations

import resource
import sys
import time


def cost_since(start: float) -> dict[str, float]:
    """`seconds` since a reading of `time.perf_counter`, and `peak_memory_mib`, the most this process held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"seconds": round(time.perf_counter() - start, 2), "peak_memory_mib": round(peak / unit, 1)}
