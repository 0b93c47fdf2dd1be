"""Which test images the probe on this encoder is right for, so that two exports compare image by image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from infocl.evaluate.stored import CORRECT_FILE
from infocl.evaluate.wilson import Right
from infocl.results.card import CORRECT_ARCHIVE
from infocl.results.comparison import SOURCE
from infocl.results.reading import TaskResult, read_probe, read_transfer
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array
from infocl.runtime.paths import CORRECT, FEATURES, rerun


def write_correct(folder: Path) -> None:
    """Write the archive: for each task of classes, the source being `source`, one bit for each test image.

    The bits lie in bytes as by `numpy.packbits`; the task's row of `encoder.json` says how many there are,
    and has hashes of the test images and labels.

    Raises:
        UserError: what the probe got right is missing, or does not give the accuracy that was reported.
    """
    bits = {name: np.packbits(right) for name, right in _read()}
    np.savez(folder / CORRECT_ARCHIVE, allow_pickle=False, **bits)


def _read() -> Iterator[tuple[str, Right]]:
    if (source := read_probe().source) is not None:
        yield SOURCE, _right(FEATURES / CORRECT_FILE, source, rerun("probe", FEATURES))
    for name, result in read_transfer().targets.items():
        if result.kind == "class":
            yield name, _right(CORRECT / f"{name}.npy", result, rerun("transfer", CORRECT))


def _right(file: Path, result: TaskResult, hint: str) -> Right:
    right = read_array(file, hint)
    if right.dtype != np.bool_ or right.shape != (result.test_images,):
        raise UserError(f"{file} holds {right.dtype} {right.shape}, not bool ({result.test_images},); {hint}")
    if round(result.score * result.test_images) != int(right.sum()):
        raise UserError(f"{file} does not give the accuracy that the stage reported; {hint}")
    return right
