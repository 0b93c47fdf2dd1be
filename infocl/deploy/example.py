"""The example of an exported folder: images of several sizes, and the embeddings that they must give."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.deploy.exported import Export
from infocl.deploy.plain import COPY_AGAIN, read_plain
from infocl.deploy.session import OnnxEncoder
from infocl.results.card import HINT
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.text import file_size

LARGEST = 256 << 20  # bytes, unpacked
MOST_ARRAYS = 64
IMAGES, EMBEDDINGS = "images", "embeddings"
# Other processors round int8 and float16 otherwise, so more than the largest error of the export is allowed.
LEEWAY = 2.0
MOST_ROUNDING = {"float16": 0.02, "int8": 0.5}  # whatever the folder says of itself


class Batch(NamedTuple):
    """Images of one size, uint8 (N, H, W, 3), and their embeddings, float32 (N, D)."""

    images: npt.NDArray[np.uint8]
    embeddings: npt.NDArray[np.float32]


def read_example(export: Export) -> list[Batch]:
    """The example's images, those of the trained size first.

    Raises:
        UserError: the file is missing, damaged, or has other arrays.
    """
    path, dim = export.folder / export.card.example.file, export.card.dim
    data = read_plain(path, LARGEST, HINT)
    try:
        arrays = unpack(data)
        sizes = sorted(name.removeprefix(IMAGES) for name in arrays if name.startswith(IMAGES))
        batches = [Batch(arrays[IMAGES + size], arrays[EMBEDDINGS + size]) for size in sizes or [""]]
    except KeyError as error:
        raise UserError(f"{path} holds no array {error}; {HINT}") from None
    except Exception as error:  # damaged archives fail in every way there is
        raise UserError(f"{path} cannot be read ({one_line(error)}); {COPY_AGAIN}") from None
    for images, embeddings in batches:
        are_images = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3 and images.size
        if not are_images or embeddings.dtype != np.float32 or embeddings.shape != (len(images), dim):
            raise UserError(
                f"{path} holds {images.dtype} {images.shape} and {embeddings.dtype} {embeddings.shape}, not "
                f"uint8 (N, H, W, 3) and float32 (N, {dim}); {HINT}"
            )
    return batches


def repeat_example(encoder: OnnxEncoder, example: Sequence[Batch]) -> tuple[float, float]:
    """Embed the example; the file for prepared images takes only those of the trained size.

    Returns:
        The largest relative L2 error of an embedding and what is allowed there, of the images that come
        nearest to their limit.

    Raises:
        UserError: it is larger than allowed, or onnxruntime cannot run the model.
    """
    trained, *others = example
    pairs = [(_error(encoder, trained), _allowed(encoder, encoder.file.relative_error))]
    if not encoder.prepared:
        limit = _allowed(encoder, max(encoder.file.relative_error, encoder.file.other_sizes_error))
        pairs += [(_error(encoder, batch), limit) for batch in others]
    error, allowed = max(pairs, key=lambda pair: pair[0] / pair[1])
    if not error <= allowed:
        raise UserError(
            f"{encoder.path} does not repeat {encoder.export.card.example.file}: the relative L2 error of "
            f"an embedding is {error:.3g}, {allowed:.3g} is allowed; use another version of onnxruntime, or "
            "ask for another export"
        )
    return error, allowed


def _allowed(encoder: OnnxEncoder, measured: float) -> float:
    rounding = min(LEEWAY * measured, MOST_ROUNDING.get(encoder.variant, 0.0))
    return encoder.export.card.example.max_relative_error + rounding


def _error(encoder: OnnxEncoder, batch: Batch) -> float:
    """Infinity where an embedding is not finite, which a comparison would lose."""
    found = encoder.embed(_as_taken(encoder, batch.images))
    norms = np.maximum(np.linalg.norm(batch.embeddings, axis=1), np.finfo(np.float32).tiny)
    error = float(np.max(np.linalg.norm(found - batch.embeddings, axis=1) / norms))
    return error if math.isfinite(error) else math.inf


def _as_taken(encoder: OnnxEncoder, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    if not encoder.prepared:
        return images
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


def unpack(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an `.npz`; sizes are checked before anything is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if len(members) > MOST_ARRAYS or size > LARGEST:
            raise ValueError(
                f"it unpacks to {len(members)} arrays of {file_size(size)}, "
                f"but {MOST_ARRAYS} of {file_size(LARGEST)} are the most"
            )
        return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}


def _array(data: bytes) -> npt.NDArray[Any]:
    """The array of an `.npy`; NumPy's own reader would reserve whatever the header says."""
    stream = io.BytesIO(data)
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("it holds an array of objects")
    values = np.frombuffer(data, dtype, offset=stream.tell())
    if math.prod(shape) != values.size:
        raise ValueError(f"a header says {shape}, but {values.size} numbers follow")
    return values.reshape(shape)
