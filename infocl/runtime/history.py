"""The course of a run: averages over windows of steps, as rows of a table."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from infocl.runtime.files import write_csv


class History:
    """Sums named scalars on the device and turns each window of steps into one row.

    Only closing a window waits for the device.

    Args:
        rows: those of an earlier part of the run.
    """

    def __init__(self, rows: list[dict[str, float]]) -> None:
        self.rows = rows
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._images = 0
        self._start = time.perf_counter()

    def add(self, parts: dict[str, Tensor], images: int) -> None:
        """Count one step; `parts` has the same names in each."""
        if self._sums:
            torch._foreach_add_(list(self._sums.values()), [parts[name] for name in self._sums])
        else:
            self._sums = {name: value.clone() for name, value in parts.items()}
        self._steps += 1
        self._images += images

    def close(self, **columns: float) -> dict[str, float]:
        """End the window; the row holds `columns`, the means, and the images per second."""
        means = torch.stack([value.double() for value in self._sums.values()]).tolist()
        row = dict(columns)
        row |= {name: total / self._steps for name, total in zip(self._sums, means, strict=True)}
        now = time.perf_counter()
        row["images_per_second"] = round(self._images / (now - self._start), 1)
        self.rows.append(row)
        self._sums, self._steps, self._images, self._start = {}, 0, 0, now
        return row

    def skip_time(self) -> None:
        """Start the window's clock again, after work that is not training."""
        self._start = time.perf_counter()

    def images_per_second(self) -> float:
        """The median over all windows."""
        rates = sorted(row["images_per_second"] for row in self.rows)
        return rates[len(rates) // 2]

    def write(self, path: Path) -> None:
        """Write all rows as CSV."""
        names = list(self.rows[0])
        write_csv(path, names, ([f"{row[name]:.8g}" for name in names] for row in self.rows))
