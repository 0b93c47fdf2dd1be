"""The ONNX files of an export: each is written, measured on its own bytes, and kept or removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from infocl.config import ExportParams
from infocl.encoder.network import Encoder
from infocl.encoder.views import to_unit_range
from infocl.export.card import describe_float_input, describe_variant
from infocl.export.graph import network_graph, with_preprocessing, write_graph
from infocl.export.parity import Figures, Images, TorchReference, prove, shortfall, worst
from infocl.export.reference import REFERENCE_FILE, write_reference
from infocl.export.session import embed, open_session
from infocl.export.variants import eight_bits, half_precision
from infocl.prepared.reader import Prepared
from infocl.prepared.rows import evenly_spread
from infocl.results.card import ONNX_FILE
from infocl.runtime.errors import InfoCLError
from infocl.runtime.files import sha256_file

EXAMPLE_FILE, FLOAT_FILE = "example.npz", "encoder.float.onnx"
FILES = {"float32": ONNX_FILE, "float16": "encoder.fp16.onnx", "int8": "encoder.int8.onnx"}
EXAMPLES = 10
EXAMPLE_TOLERANCE = 1e-4  # relative L2 error; other processors and versions add in another order


@dataclass(frozen=True)
class Bench:
    """What every file is built from and held to; `about` goes into the metadata of each."""

    folder: Path
    encoder: Encoder
    data: Prepared
    params: ExportParams
    yardstick: TorchReference
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What was measured of a variant, and why it is not shipped where it is not."""

    figures: Figures
    reason: str | None


def build_files(bench: Bench) -> tuple[dict[str, Outcome], dict[str, Any]]:
    """Write the ONNX files that may be shipped, and the example.

    Returns:
        The variants by name, and what `encoder.json` says of all files.

    Raises:
        InfoCLError: float32 breaks a limit.
    """
    network = network_graph(bench.encoder, bench.data.image_size, bench.params.opset)
    outcomes = {"float32": _ship(bench, "float32", network)}
    float_input = _write_float_input(bench, network)
    example = _write_example(bench)
    outcomes["float16"] = _ship(bench, "float16", half_precision(network))
    outcomes["int8"] = _ship(bench, "int8", eight_bits(network, bench.encoder, calibration_images(bench)))
    rows = {name: _row(bench, name, outcome) for name, outcome in outcomes.items()}
    return outcomes, {
        "variants": rows,
        "float_input": float_input,
        "example": example,
        "drift": _write_reference(bench),
    }


def calibration_images(bench: Bench) -> Images:
    """At most `export.calibration_images` images (N, S, S, 3), evenly spread over the training split."""
    train = bench.data.split("train")
    return np.asarray(train.images[evenly_spread(len(train), bench.params.calibration_images)])


def _ship(bench: Bench, variant: str, network: onnx.ModelProto) -> Outcome:
    """Write a variant and measure the file; remove it again where it breaks a limit."""
    path = bench.folder / FILES[variant]
    model = with_preprocessing(network, bench.encoder, bench.data.image_size, bench.data.crop)
    write_graph(path, model, {**bench.about, "variant": variant})
    figures = prove(path.read_bytes(), bench.yardstick, resized=variant == "float32")
    reason = shortfall(variant, figures, bench.yardstick, bench.params)
    if reason and variant == "float32":
        raise InfoCLError(
            f"onnxruntime in float32 is not near enough to torch: {reason}; nothing was exported. "
            "Raise the limit only if your use bears that"
        )
    if reason:
        print(f"{variant} is not shipped: {reason}.", flush=True)
        path.unlink()
    return Outcome(figures, reason)


def _row(bench: Bench, variant: str, outcome: Outcome) -> dict[str, Any]:
    shipped = outcome.reason is None
    path = bench.folder / FILES[variant]
    return {
        "file": path.name if shipped else None,
        "input": bench.about["input"],
        "bytes": path.stat().st_size if shipped else None,
        "sha256": sha256_file(path) if shipped else None,
        **describe_variant(outcome.figures, bench.yardstick, outcome.reason),
    }


def _write_float_input(bench: Bench, network: onnx.ModelProto) -> dict[str, Any]:
    """The float32 network for images that are prepared already; held to the limits of float32."""
    path, size = bench.folder / FLOAT_FILE, bench.data.image_size
    described = describe_float_input(size)
    model = with_preprocessing(network, bench.encoder, size, bench.data.crop, raw=False)
    write_graph(path, model, {**bench.about, "variant": "float32", "input": described})
    images = to_unit_range(torch.from_numpy(bench.yardstick.images)).contiguous().numpy()
    found = embed(open_session(path.read_bytes(), bench.yardstick.threads), images)
    _, relative, distance = worst([(found, bench.yardstick.embeddings)])
    if not (
        relative <= bench.params.max_relative_error.float32
        and distance <= bench.params.max_cosine_distance.float32
    ):
        raise InfoCLError(
            f"{FLOAT_FILE} differs from torch by up to {relative:.3g} (relative L2 error) and "
            f"{distance:.3g} (1 - cosine), more than the limits of float32; nothing was exported"
        )
    return {
        "file": path.name,
        "input": described,
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        "relative_error": relative,
        "cosine_distance": distance,
    }


def _write_example(bench: Bench) -> dict[str, Any]:
    """Real images and the embeddings that `encoder.onnx` gives of them, to try a runtime with.

    `images` have the trained size and `embeddings` are theirs; each other size HxW has a pair of arrays
    `images_HxW` and `embeddings_HxW`.
    """
    images = bench.yardstick.images[evenly_spread(len(bench.yardstick.images), EXAMPLES)]
    others = [odd for odd, _ in bench.yardstick.resized]
    named = {"": images} | {f"_{odd.shape[1]}x{odd.shape[2]}": odd for odd in others}
    session = open_session((bench.folder / ONNX_FILE).read_bytes(), bench.yardstick.threads)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for size, batch in named.items():
        arrays |= {f"images{size}": batch, f"embeddings{size}": embed(session, batch)}
    np.savez(bench.folder / EXAMPLE_FILE, allow_pickle=False, **arrays)
    return {
        "file": EXAMPLE_FILE,
        "images": sum(map(len, named.values())),
        "sizes": [list(batch.shape[1:3]) for batch in named.values()],
        "max_relative_error": EXAMPLE_TOLERANCE,
    }


def _write_reference(bench: Bench) -> dict[str, Any] | None:
    session = open_session((bench.folder / ONNX_FILE).read_bytes(), bench.yardstick.threads)
    return write_reference(
        bench.folder / REFERENCE_FILE,
        bench.data,
        lambda images: embed(session, images),
        bench.params.drift_images,
    )
