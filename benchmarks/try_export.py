"""A script for an environment of one runtime and NumPy alone: try an exported folder, print figures as JSON.

`python try_export.py RUNTIME FOLDER`: every variant is loaded, embeds the example, and takes images of other
sizes too; so is the file for prepared images. A file that the runtime refuses has no figure, and why goes to
standard error.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Embed = Callable[[np.ndarray], np.ndarray]


def with_onnxruntime(module: Any, path: str) -> Embed:
    """The model in onnxruntime, on the CPU."""
    options = module.SessionOptions()
    options.log_severity_level = 3
    session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["embedding"], {"image": images})[0]  # type: ignore[no-any-return]


def with_openvino(module: Any, path: str) -> Embed:
    """The model in OpenVINO, on the CPU, without its rounding to bfloat16."""
    core = module.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model(images)[0]  # type: ignore[no-any-return]


def with_reference(module: Any, path: str) -> Embed:
    """The model in ONNX's own reference evaluator, which is NumPy."""
    model = importlib.import_module(f"{module.__name__}.reference").ReferenceEvaluator(path)
    return lambda images: model.run(None, {"image": images})[0]  # type: ignore[no-any-return]


def with_tract(module: Any, path: str) -> Embed:
    """The model in tract, on the CPU."""
    model = module.onnx().load(path).into_model().into_runnable()
    return lambda images: model.run([images])[0].to_numpy()  # type: ignore[no-any-return]


RUNTIMES = {
    "onnxruntime": with_onnxruntime,
    "openvino": with_openvino,
    "onnx": with_reference,
    "tract": with_tract,
}
PREPARED = "prepared"
Batches = list[tuple[np.ndarray, np.ndarray]]


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative L2 error of an embedding; (N, D) each."""
    gap = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    return float((gap / np.linalg.norm(expected.astype(np.float64), axis=1)).max())


def error_of(embed: Embed, batches: Batches, odd: list[np.ndarray], dim: int) -> float:
    """The error on all batches; images of other sizes must give embeddings too."""
    shapes = [embed(np.ascontiguousarray(batch)).shape for batch in odd]
    if shapes != [(len(batch), dim) for batch in odd]:
        raise ValueError(f"{shapes} for images of other sizes")
    return max(error(embed(batch), expected) for batch, expected in batches)


def main(runtime: str, folder: Path) -> None:
    """Print one JSON object: the version, and the error of each file on the example."""
    module = importlib.import_module(runtime)
    example = dict(np.load(folder / "example.npz"))
    batches = [
        (example[name], example[name.replace("images", "embeddings")]) for name in example if "images" in name
    ]
    images = example["images"]
    about = json.loads((folder / "encoder.json").read_text())
    odd = [np.concatenate([images, images[::-1]], axis=2), images[:, :7, :5], images[:1, :1, :1]]
    unit = np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    trials = {
        name: (row["file"], batches, odd) for name, row in about["variants"].items() if row["shipped"]
    } | {PREPARED: (about["float_input"]["file"], [(unit, example["embeddings"])], [unit[:1]])}
    rows: dict[str, float | None] = {}
    for name, (file, *asked) in trials.items():
        try:
            rows[name] = error_of(RUNTIMES[runtime](module, str(folder / file)), *asked, about["dim"])
        except Exception as refused:  # runtimes have errors of their own
            print(f"{file}: {refused}", file=sys.stderr)
            rows[name] = None
    version = metadata.version(runtime)
    print(json.dumps({"runtime": runtime, "version": version, "numpy": np.__version__, "error": rows}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
