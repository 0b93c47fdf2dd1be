"""`infocl verify`: whether an exported folder is whole, is what it says, and computes what it promises."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from infocl.deploy.about import MEND, Export
from infocl.deploy.session import Encoder
from infocl.deploy.sums import COPY_AGAIN, check_signature, check_sums
from infocl.errors import UserError
from infocl.wording import counted

# Other processors round int8 and float16 otherwise, so more than the largest error of the export is allowed.
LEEWAY = 2.0


def verify_folder(folder: Path, signers: Path | None) -> None:
    """Check a folder and print one line for each check.

    Args:
        folder: the exported one.
        signers: file of allowed signers as in ssh-keygen(1); a signature by one of them is then demanded.

    Raises:
        UserError: the first check that fails, with the file and the mend.
    """
    export = Export(folder)
    print(f"sums       {counted(check_sums(folder), 'file')}, all as SHA256SUMS lists them, and no other")
    promised = export.about.signature is not None
    print(f"signature  {check_signature(folder, signers, promised=promised)}", flush=True)
    _check_no_other_models(export)
    images, embeddings = read_example(export)
    for encoder in _encoders(export):
        _check_metadata(encoder)
        error = _repeat(encoder, images, embeddings)
        print(
            f"{encoder.path.name}  {encoder.variant}, nothing outside it, metadata as encoder.json; repeats "
            f"{export.about.example.file} within {error:.2g} (allowed {_allowed(encoder):.2g})",
            flush=True,
        )
    print(f"{folder} is sound (onnxruntime {onnxruntime.__version__}).")


def _encoders(export: Export) -> Iterator[Encoder]:
    yield Encoder(export, "float32")
    yield Encoder(export, "float32", prepared=True)
    for variant in export.shipped:
        if variant != "float32":
            yield Encoder(export, variant)


def read_example(export: Export) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The example's images (N, H, W, 3) and their embeddings (N, D).

    Raises:
        UserError: the file is missing, damaged, or has other arrays.
    """
    path, dim = export.folder / export.about.example.file, export.about.dim
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, embeddings = arrays["images"], arrays["embeddings"]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {MEND}") from None
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); {COPY_AGAIN}") from None
    are_images = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3 and len(images) > 0
    if not are_images or embeddings.dtype != np.float32 or embeddings.shape != (len(images), dim):
        raise UserError(
            f"{path} holds {images.dtype} {images.shape} and {embeddings.dtype} {embeddings.shape}, not "
            f"uint8 (N, H, W, 3) and float32 (N, {dim}); {MEND}"
        )
    return images, embeddings


def _check_no_other_models(export: Export) -> None:
    described = {file.file for file in (*export.shipped.values(), export.about.float_input)}
    for path in sorted(export.folder.glob("*.onnx")):
        if path.name not in described:
            raise UserError(f"{path} is not described by encoder.json; remove it, or {MEND}")


def _check_metadata(encoder: Encoder) -> None:
    """The metadata inside an ONNX file are those of `encoder.json`, so that the two belong together."""
    raw = encoder.export.raw
    taken = (raw["float_input"] if encoder.prepared else raw).get("input")
    expected = {**raw, "variant": encoder.variant, "input": taken}
    found = encoder.metadata
    for key in sorted({*found, "weights_sha256"}):
        value = expected.get(key)
        if key not in expected or found.get(key) != (value if isinstance(value, str) else json.dumps(value)):
            raise UserError(
                f"{encoder.path} and encoder.json differ in {key}, so they are of two exports; {COPY_AGAIN}"
            )


def _repeat(encoder: Encoder, images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> float:
    """The largest relative L2 error of an embedding of the example."""
    found = encoder.embed(_as_taken(encoder, images))
    norms = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    error = float(np.max(np.linalg.norm(found - expected, axis=1) / norms))
    if not error <= _allowed(encoder):
        raise UserError(
            f"{encoder.path} does not repeat {encoder.export.about.example.file}: the relative L2 error of "
            f"an embedding is {error:.3g}, {_allowed(encoder):.3g} is allowed; use another version of "
            "onnxruntime, or ask for another export"
        )
    return error


def _allowed(encoder: Encoder) -> float:
    rounding = 0.0 if encoder.variant == "float32" else LEEWAY * encoder.file.relative_error
    return encoder.export.about.example.max_relative_error + rounding


def _as_taken(encoder: Encoder, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """The example's images as the file takes them; they have the size that the encoder was trained on."""
    if encoder.file.input.dtype == "uint8":
        return images
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
