"""Rows of images on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array

Sheet = npt.NDArray[np.uint8]  # (rows, columns, S, S, 3)


def read_sheet(path: Path, hint: str) -> Sheet:
    """Rows of images, uint8 (rows, columns, S, S, 3).

    Raises:
        UserError: the file is missing, damaged, or holds something else; the message ends with the hint.
    """
    sheet = read_array(path, hint)
    if sheet.dtype != np.uint8 or sheet.ndim != 5 or sheet.shape[4] != 3 or not sheet.size:
        raise UserError(f"{path} holds {sheet.dtype} {sheet.shape}, no rows of images; {hint}")
    return sheet
