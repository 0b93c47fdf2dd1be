"""Which test images the probe on an exported encoder is right for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from infocl.results.card import CARD_FILE, HINT, TaskScore, parse_measured
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.files import read_json


def read_correct(folder: Path) -> dict[str, npt.NDArray[np.bool_]]:
    """Bools for the test images, by task of classes, the source being `source`; empty where there are none.

    Raises:
        UserError: a file is missing or damaged, or does not give the accuracies of `encoder.json`.
    """
    path = folder / CARD_FILE
    measured = parse_measured(read_json(path, HINT), path)
    if measured.correct is None:
        return {}
    rows = measured.metrics.with_accuracy
    if measured.metrics.source is not None:
        rows["source"] = measured.metrics.source
    file = folder / measured.correct.file
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: _bits(archive[name], row) for name, row in rows.items()}
    except Exception as error:  # damaged archives fail in every way there is
        raise UserError(f"{file} cannot be read ({one_line(error)}); {HINT}") from None


def _bits(packed: npt.NDArray[np.uint8], row: TaskScore) -> npt.NDArray[np.bool_]:
    right = np.unpackbits(packed, count=row.test_images).astype(bool)
    if int(right.sum()) != row.right or len(packed) != -(-row.test_images // 8):
        raise ValueError(f"{int(right.sum())} right answers, not the {row.right} of {CARD_FILE}")
    return right
