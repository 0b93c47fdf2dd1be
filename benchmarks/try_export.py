"""A script for an environment of one runtime and NumPy alone: try an exported folder, print figures as JSON.

`python try_export.py RUNTIME FOLDER`, onnxruntime or openvino: every variant is loaded, embeds the example,
and takes images of other sizes too.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
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


RUNTIMES = {"onnxruntime": with_onnxruntime, "openvino": with_openvino}


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative L2 error of an embedding; (N, D) each."""
    gap = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    return float((gap / np.linalg.norm(expected.astype(np.float64), axis=1)).max())


def main(runtime: str, folder: Path) -> None:
    """Print one JSON object: the version, and the error of each variant on the example."""
    module = importlib.import_module(runtime)
    example = dict(np.load(folder / "example.npz"))
    batches = [
        (example[name], example[name.replace("images", "embeddings")]) for name in example if "images" in name
    ]
    images = example["images"]
    about = json.loads((folder / "encoder.json").read_text())
    odd = [np.concatenate([images, images[::-1]], axis=2), images[:, :7, :5], images[:1, :1, :1]]
    rows = {}
    for name, variant in about["variants"].items():
        if not variant["shipped"]:
            continue
        embed = RUNTIMES[runtime](module, str(folder / variant["file"]))
        shapes = [embed(np.ascontiguousarray(batch)).shape for batch in odd]
        if shapes != [(len(batch), about["dim"]) for batch in odd]:
            raise SystemExit(f"{name} gives {shapes} for images of other sizes")
        rows[name] = max(error(embed(batch), expected) for batch, expected in batches)
    version = module.__version__.split("-")[0]
    print(json.dumps({"runtime": runtime, "version": version, "numpy": np.__version__, "error": rows}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
