"""A script for an environment of onnxruntime and NumPy alone: try an exported folder, print figures as JSON.

`python try_export.py FOLDER`: every variant is loaded, embeds the example, and takes it in other sizes too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative L2 error of an embedding; (N, D) each."""
    gap = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    return float((gap / np.linalg.norm(expected.astype(np.float64), axis=1)).max())


def main(folder: Path) -> None:
    """Print one JSON object: the version, and the error of each variant on the example."""
    example = np.load(folder / "example.npz")
    images, expected = example["images"], example["embeddings"]
    about = json.loads((folder / "encoder.json").read_text())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    odd = [np.concatenate([images, images[::-1]], axis=2), images[:, :7, :5], images[:1, :1, :1], images[:0]]
    rows = {}
    for name, variant in about["variants"].items():
        if not variant["shipped"]:
            continue
        path = str(folder / variant["file"])
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(["embedding"], {"image": images})
        shapes = [session.run(["embedding"], {"image": batch})[0].shape for batch in odd]
        if shapes != [(len(batch), about["dim"]) for batch in odd]:
            raise SystemExit(f"{name} gives {shapes} for images of other sizes")
        rows[name] = error(found, expected)
    print(json.dumps({"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "error": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
