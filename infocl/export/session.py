"""ONNX files through onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from infocl.export.graph import OUTPUT
from infocl.export.preprocessing import INPUT
from infocl.runtime.errors import InfoCLError

THREADS = 2  # of either engine, so that figures are alike on machines with more cores
BATCH = 64
ERRORS_ONLY = 3  # of onnxruntime's levels; its remarks on how it optimises are not for users


def open_session(model: bytes, threads: int) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        InfoCLError: onnxruntime refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InfoCLError(f"onnxruntime {onnxruntime.__version__} refuses the model ({reason})") from None


def embed(session: Any, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of images, uint8 (N, H, W, 3) or as the model asks, in batches."""
    batches = [
        session.run([OUTPUT], {INPUT: np.ascontiguousarray(images[start : start + BATCH])})[0]
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(batches)


@contextmanager
def few_threads() -> Iterator[int]:
    """Hold torch to the number of threads that it yields."""
    before = torch.get_num_threads()
    threads = min(THREADS, before)
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)
