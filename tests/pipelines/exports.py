"""Exported encoders that are whole and run in onnxruntime, made without torch in a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binomtest

from infocl.runtime.files import sha256_file, write_json

DIM, SIZE = 4, 8


def task(right, images):
    """A target's row as the stage transfer writes it: `right` of `images` test images, Wilson's interval."""
    interval = binomtest(right, images).proportion_ci(method="wilson")
    return {
        "accuracy": right / images,
        "accuracy_ci95": [float(interval.low), float(interval.high)],
        "knn_accuracy": 0.5,
        "majority": 0.1,
        "test_images": images,
    }


def about(*, weights=1.0, error=1e-6, **targets):
    """What `encoder.json` says that the gate and `infocl verify` read; targets as (right, images)."""
    rows = {name: task(*counts) for name, counts in targets.items()}
    return {
        "format": 2,
        "data": "scenes",
        "objective": "simclr",
        "regularizer": "rc",
        "reg_weight": weights,
        "weights_sha256": f"{weights:064.6f}".replace(".", "f"),
        "dim": DIM,
        "normalized": False,
        "input": {"name": "image", "dtype": "uint8", "shape": ["N", "H", "W", 3]},
        "output": {"name": "embedding", "dtype": "float32", "shape": ["N", DIM]},
        "metrics": {"source": task(30, 60), "transfer": rows},
        "parity": {"max_relative_error": error, "tolerance": 1e-5},
    }


def write_export(folder: Path, *, weights=1.0, error=1e-6, **targets):
    """An exported folder; `weights` shape its embeddings, targets are (right, test images)."""
    folder.mkdir(parents=True)
    message = about(weights=weights, error=error, **targets)
    prepared = {"name": "image", "dtype": "float32", "shape": ["N", 3, SIZE, SIZE]}
    matrix = weights * np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)
    _write_model(folder / "encoder.onnx", message, message["input"], [1, 2], matrix / 255)
    _write_model(folder / "encoder.float.onnx", message, prepared, [2, 3], matrix)
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    embeddings = (images.mean((1, 2)) @ matrix / 255).astype(np.float32)
    np.savez(folder / "example.npz", images=images, embeddings=embeddings)
    message |= {
        "variants": {"float32": {"shipped": True, **_described(folder / "encoder.onnx", message["input"])}},
        "float_input": _described(folder / "encoder.float.onnx", prepared),
        "example": {"file": "example.npz", "max_relative_error": 1e-4},
        "signature": None,
    }
    write_json(folder / "encoder.json", message)
    sums = [f"{sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def _described(path, tensor):
    return {"file": path.name, "sha256": sha256_file(path), "input": tensor, "relative_error": 1e-6}


def _write_model(path, message, tensor, axes, matrix):
    kind = TensorProto.UINT8 if tensor["dtype"] == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "matrix"], ["embedding"]),
        ],
        "encoder",
        [helper.make_tensor_value_info("image", kind, tensor["shape"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", DIM])],
        [
            numpy_helper.from_array(matrix.astype(np.float32), "matrix"),
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    metadata = {**message, "variant": "float32", "input": tensor}
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    helper.set_model_props(model, words)
    onnx.save(model, path)
