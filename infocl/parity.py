"""Proof that an ONNX encoder computes what torch computes, on real images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from infocl.encoders import Encoder
from infocl.errors import InfoCLError
from infocl.evaluate.features import extract

INPUT, OUTPUT = "image", "embedding"
THREADS = 2  # of either engine, so that figures are alike on machines with more cores
BATCH = 64
LEAST_NORM = 1e-30  # keeps a pair of zero embeddings from dividing 0 by 0


@dataclass(frozen=True)
class Parity:
    """How far onnxruntime is from torch in float32, and how fast both were.

    `max_relative_error` is the largest L2 distance of an embedding divided by torch's norm.
    """

    images: int
    max_abs_error: float
    max_relative_error: float
    cosine_min: float
    onnxruntime_images_per_second: float
    torch_images_per_second: float
    threads: int


def measure_parity(encoder: Encoder, model: bytes, images: npt.NDArray[np.uint8]) -> Parity:
    """Compare an ONNX model with the features that the probe was given, on the CPU.

    The first image also goes through onnxruntime alone, so a model that only works on batches is found.

    Args:
        encoder: in evaluation mode, on the CPU.
        model: the ONNX file's bytes.
        images: uint8 (N, S, S, 3), N >= 1.

    Raises:
        InfoCLError: an embedding of torch is not finite, or onnxruntime refuses the model.
    """
    with _few_threads() as threads:
        session = open_session(model, threads)
        extract(encoder, images[:BATCH], torch.device("cpu"))  # the first batch of a shape is slower
        start = time.perf_counter()
        expected = extract(encoder, images, torch.device("cpu"), BATCH)
        torch_seconds = time.perf_counter() - start
        alone = embed(session, images[:1])
        embed(session, images[:BATCH])
        start = time.perf_counter()
        found = embed(session, images)
        onnx_seconds = time.perf_counter() - start
    found, expected = np.concatenate([found, alone]), np.concatenate([expected, expected[:1]])
    absolute, relative, cosine = compare(found, expected)
    return Parity(
        images=len(images),
        max_abs_error=absolute,
        max_relative_error=relative,
        cosine_min=cosine,
        onnxruntime_images_per_second=round(len(images) / onnx_seconds, 1),
        torch_images_per_second=round(len(images) / torch_seconds, 1),
        threads=threads,
    )


def compare(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """Largest absolute error, largest relative L2 error of a row, smallest cosine of a row; (N, D) each."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    relative = np.linalg.norm(a - b, axis=1) / np.maximum(norm_b, LEAST_NORM)
    both = norm_a * norm_b
    cosine = np.where(both > 0, (a * b).sum(axis=1) / np.maximum(both, LEAST_NORM), norm_a == norm_b)
    return float(np.abs(a - b).max()), float(relative.max()), min(1.0, float(cosine.min()))


def open_session(model: bytes, threads: int) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        InfoCLError: onnxruntime refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InfoCLError(f"onnxruntime {onnxruntime.__version__} refuses the model ({reason})") from None


def embed(session: Any, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of uint8 images (N, S, S, 3), in batches."""
    batches = [
        session.run([OUTPUT], {INPUT: np.ascontiguousarray(images[start : start + BATCH])})[0]
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(batches)


@contextmanager
def _few_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    threads = min(THREADS, before)
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)
