"""Exported encoders that are whole and run in onnxruntime, made without torch in a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binomtest

from infocl.export.look import looks
from infocl.export.reference import project, standardise
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


def mean_of(rows):
    """The mean of the targets; its interval is that of one target, which is all that there is mostly."""
    if not rows:
        return {}
    mean = sum(row["accuracy"] for row in rows.values()) / len(rows)
    return {
        "mean_transfer_accuracy": mean,
        "mean_transfer_accuracy_ci95": next(iter(rows.values()))["accuracy_ci95"],
    }


def asked(name):
    """Hashes of the test images and labels, the same for all exports."""
    return {"test_images_sha256": f"images of {name}", "test_labels_sha256": f"labels of {name}"}


def about(*, weights=1.0, error=1e-6, **targets):
    """What `encoder.json` says that the gate and `infocl verify` read; targets as (right, images)."""
    rows = {name: task(*counts) | asked(name) for name, counts in targets.items()}
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
        "metrics": {"source": task(30, 60) | asked("source"), "transfer": rows} | mean_of(rows),
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
    images = noise(1, 3)
    embeddings = (images.mean((1, 2)) @ matrix / 255).astype(np.float32)
    np.savez(folder / "example.npz", images=images, embeddings=embeddings)
    rows = {"source": message["metrics"]["source"], **message["metrics"]["transfer"]}
    right = {
        name: np.arange(row["test_images"]) < round(row["accuracy"] * row["test_images"])
        for name, row in rows.items()
    }
    np.savez(folder / "correct.npz", **{name: np.packbits(bits) for name, bits in right.items()})
    sample = _write_sample(folder / "drift.npz", matrix)
    message |= {
        "bytes": (folder / "encoder.onnx").stat().st_size,
        "drift": sample,
        "correct": {"file": "correct.npz"},
        "variants": {"float32": {"shipped": True, **_described(folder / "encoder.onnx", message["input"])}},
        "float_input": _described(folder / "encoder.float.onnx", prepared),
        "example": {"file": "example.npz", "max_relative_error": 1e-4},
        "signature": None,
    }
    write_json(folder / "encoder.json", message)
    sums = [f"{sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def _write_sample(path, matrix):
    """Of images as `noise` makes them."""
    images = noise(2, 40)
    features = images.mean((1, 2)) @ matrix / 255
    _, sizes, directions = np.linalg.svd(features - features.mean(0), full_matrices=False)
    directions = (directions[:2] * len(images) ** 0.5 / sizes[:2, None]).astype(np.float32)
    mean, seen = features.mean(0).astype(np.float32), looks(images)
    look_mean, look_scale = seen.mean(0).astype(np.float32), seen.std(0).astype(np.float32)
    np.savez(
        path,
        mean=mean,
        directions=directions,
        features=project(features, mean, directions),
        look_mean=look_mean,
        look_scale=look_scale,
        looks=standardise(seen, look_mean, look_scale),
    )
    return {"file": path.name, "images": len(images), "split": "test", "image_size": SIZE, "crop": "center"}


def noise(seed, count):
    """Images uint8 (count, SIZE, SIZE, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


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
