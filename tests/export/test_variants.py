"""The variants of an export: float32, float16 and int8, and the file for prepared images."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from infocl.encoder.files import load_encoder
from infocl.export.compare import compare
from infocl.export.preprocessing import square_unit_range
from tests.export.test_export import EXPORT, about, session
from tests.tiny_run import SIZE, digit_images


@pytest.mark.parametrize(
    ("name", "weights"), [("float", 1), ("fp16", 10), ("int8", 3)], ids=["float", "float16", "int8"]
)
def test_variants_are_of_their_kind_and_of_standard_operators(project, name, weights):
    """Types as onnx numbers them: 1 float32, 3 int8, 10 float16; int8 has a scale for each channel."""
    model = onnx.load(EXPORT / f"encoder.{name}.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert model.ir_version == 8
    kernels = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4 and tensor.dims[1] > 1]
    kernels = [tensor for tensor in kernels if tensor.dims[0] > 1]
    assert {tensor.data_type for tensor in kernels} == {weights}
    assert len(kernels) == 20
    scales = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer if "weight" in tensor.name}
    per_channel = [dims for key, dims in scales.items() if key.endswith("_scale")]
    assert (len(per_channel) >= 20 and all(dims and dims[0] >= 8 for dims in per_channel)) == (name == "int8")


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (SIZE, SIZE), (40, 23)])
@pytest.mark.parametrize(("name", "tolerance"), [("", 1e-5), ("fp16.", 3e-3), ("int8.", 0.5)])
def test_every_variant_takes_images_of_any_size(project, name, tolerance, shape):
    height, width = shape
    digits = [Image.fromarray(image) for image in digit_images(0, 3)[0]]
    images = np.stack([np.asarray(digit.resize((width, height))) for digit in digits])
    (found,) = session(EXPORT / f"encoder.{name}onnx").run(["embedding"], {"image": images})
    encoder, _ = load_encoder(Path("models/pretrain"))
    with torch.inference_mode():
        expected = encoder(square_unit_range(torch.from_numpy(images), SIZE, "center")).numpy()
    assert found.dtype == np.float32
    assert compare(found, expected)[1] < tolerance


def test_the_float_file_takes_prepared_images(project):
    model = session(EXPORT / "encoder.float.onnx")
    (image,) = model.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["N", 3, SIZE, SIZE])
    message = about()["float_input"]
    assert (message["input"]["dtype"], message["input"]["shape"]) == ("float32", image.shape)
    images = digit_images(0, 3)[0]
    unit = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    (found,), (expected,) = model.run(None, {"image": unit}), session().run(None, {"image": images})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_no_variant_warns_when_it_is_loaded(project):
    """As users load them, with all that onnxruntime has to say."""
    load = "import glob, onnxruntime; [*map(onnxruntime.InferenceSession, glob.glob('*.onnx'))]"
    done = subprocess.run(
        [sys.executable, "-c", load], cwd=EXPORT, capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""


def test_every_variant_is_described_by_its_own_file(project):
    message = about()
    assert message["variants"].keys() == {"float32", "float16", "int8"}
    for row in message["variants"].values():
        content = (EXPORT / row["file"]).read_bytes()
        assert row["shipped"] is True
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert row["probe_accuracy_torch"] == message["variants"]["float32"]["probe_accuracy_torch"] > 0.5
        assert abs(row["probe_accuracy"] - row["probe_accuracy_torch"]) <= 0.1
    errors = [message["variants"][name]["relative_error"] for name in ("float32", "float16", "int8")]
    sizes = [message["variants"][name]["bytes"] for name in ("float32", "float16", "int8")]
    assert errors == sorted(errors)
    assert 0 < errors[0] < 1e-5 < errors[1] < 2e-3 < errors[2] < 0.2
    assert sizes[0] > 1.8 * sizes[1] > 2.5 * sizes[2]
