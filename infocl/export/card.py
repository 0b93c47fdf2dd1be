"""`encoder.json`: everything that a program may want to know of an export, without figures of speed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx
import onnxruntime
import torch

from infocl.config import ExportParams
from infocl.encoder.network import Encoder
from infocl.export.graph import OUTPUT
from infocl.export.lineage import lineage
from infocl.export.parity import Figures, TorchReference
from infocl.export.preprocessing import INPUT, describe_preprocessing
from infocl.prepared.reader import Prepared
from infocl.results.card import FORMAT, SIGNATURE_NAMESPACE, SIGNATURE_SUFFIX, SUMS_FILE
from infocl.results.reading import read_probe, read_transfer

# `python -m benchmarks.runtimes` measures them, and the JavaScript example the other two; each gave the
# example's embeddings, those of images to be shrunk and cropped included.
TRIED_OPSET = 18
TRIED_RUNTIMES = (
    ("onnxruntime", "1.16.3"),
    ("onnxruntime", "1.17.3"),
    ("onnxruntime", "1.18.1"),
    ("onnxruntime", "1.19.2"),
    ("onnxruntime", "1.20.1"),
    ("onnxruntime", "1.21.1"),
    ("onnxruntime", "1.22.1"),
    ("onnxruntime", "1.23.2"),
    ("onnxruntime", "1.24.4"),
    ("onnxruntime", "1.25.1"),
    ("onnxruntime", "1.26.0"),
    ("onnxruntime", "1.27.0"),
    ("onnxruntime", "1.28.0"),
    ("onnxruntime", "1.29.0"),
    ("onnxruntime", "1.30.0"),
    ("onnxruntime", "1.31.1"),
    ("onnxruntime", "1.32.0"),
    ("openvino", "2026.4.1"),
    ("onnx", "1.23.2"),
)
TRIED_PREPARED = (("tract", "0.23.9"),)  # it refuses the others, for their images of any size
TRIED_IN_JAVASCRIPT = (("onnxruntime-node", "1.30.0"), ("onnxruntime-web", "1.30.0"))


def describe(
    encoder: Encoder, config: Mapping[str, Any], data: Prepared, params: ExportParams
) -> dict[str, Any]:
    """The facts that hold for every file of the export, and go into the metadata of each."""
    trained = ("version", "data", "objective", "regularizer", "reg_weight", "epochs", "seed")
    proof = ("params_sha256", "git_revision", "weights_sha256")
    size, mean, std = data.image_size, config["mean"], config["std"]
    return {
        "format": FORMAT,
        **{key: config.get(key) for key in (*trained, *proof)},
        "data_sha256": data.meta.get("source_sha256"),
        "data_licence": data.meta.get("licence"),
        "lineage": lineage(config, data),
        "encoder": encoder.params.model_dump(),
        "input": {"name": INPUT, "dtype": "uint8", "shape": ["N", "H", "W", 3], "channels": "RGB"},
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["N", encoder.dim]},
        "dim": encoder.dim,
        "normalized": False,
        "image_size": size,
        "mean": mean,
        "std": std,
        "preprocessing": describe_preprocessing(size, mean, std, data.crop),
        "opset": params.opset,
        "ir_version": onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", params.opset)]),
        "runtimes_tried": _runtimes(params.opset),
        "runtimes_of_prepared": dict(TRIED_PREPARED) if params.opset == TRIED_OPSET else {},
        "metrics": _metrics(),
    }


def _runtimes(opset: int) -> dict[str, list[str]]:
    """Versions by runtime."""
    if opset != TRIED_OPSET:
        return {"onnxruntime": [onnxruntime.__version__]}
    tried: dict[str, list[str]] = {}
    for name, version in (*TRIED_RUNTIMES, *TRIED_IN_JAVASCRIPT):
        tried.setdefault(name, []).append(version)
    return tried


def describe_float_input(size: int) -> dict[str, Any]:
    """The input of the file for those who prepare images themselves."""
    return {
        "name": INPUT,
        "dtype": "float32",
        "shape": ["N", 3, size, size],
        "channels": "RGB",
        "range": [0, 1],
    }


def describe_parity(figures: Figures, yardstick: TorchReference, params: ExportParams) -> dict[str, Any]:
    """How near the float32 file is to torch."""
    return {
        "images": len(yardstick.images),
        "other_sizes": [list(images.shape[1:3]) for images, _ in yardstick.resized],
        "max_abs_error": figures.max_abs_error,
        "max_relative_error": figures.max_relative_error,
        "cosine_min": 1 - figures.max_cosine_distance,
        "tolerance": params.max_relative_error.float32,
        "compared": f"onnxruntime {onnxruntime.__version__} with torch {torch.__version__}, float32, CPU",
    }


def describe_variant(figures: Figures, yardstick: TorchReference, reason: str | None) -> dict[str, Any]:
    """What was measured of a variant, and why it is not shipped where it is not; NaN becomes null."""
    task = yardstick.task
    fields: dict[str, Any] = {
        "relative_error": figures.max_relative_error,
        "other_sizes_error": figures.resized_error,
        "cosine_distance": figures.max_cosine_distance,
        "neighbour_agreement": figures.neighbour_agreement,
        "probe_accuracy": figures.probe_accuracy,
        "probe_accuracy_torch": yardstick.probe_accuracy,
        "probe_train_images": len(task.train[1]) if task else None,
        "probe_test_images": len(task.test[1]) if task else None,
        "shipped": reason is None,
    }
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
    return finite | ({} if reason is None else {"reason": reason})


def describe_signature(key_fingerprint: str | None) -> dict[str, Any] | None:
    """How to check who made the folder; None without a key."""
    if key_fingerprint is None:
        return None
    return {
        "file": SUMS_FILE + SIGNATURE_SUFFIX,
        "of": SUMS_FILE,
        "namespace": SIGNATURE_NAMESPACE,
        "key": key_fingerprint,
        "check": "ssh-keygen -Y verify -f ALLOWED_SIGNERS -I SIGNER "
        f"-n {SIGNATURE_NAMESPACE} -s {SUMS_FILE}{SIGNATURE_SUFFIX} < {SUMS_FILE}",
    }


def _metrics() -> dict[str, Any]:
    probe, transfer = read_probe(), read_transfer()
    return {
        "source": probe.source.as_row() if probe.source else None,
        "mean_transfer_accuracy": transfer.mean_accuracy,
        "mean_transfer_accuracy_ci95": transfer.mean_accuracy_ci95 and list(transfer.mean_accuracy_ci95),
        "transfer": {name: row.as_row() for name, row in transfer.targets.items()},
        "rankme": probe.rankme,
        "dead_units": probe.dead_units,
    }
