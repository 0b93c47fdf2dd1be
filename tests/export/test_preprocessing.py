"""The preprocessing in the graph against torch, torchvision's order of steps, and Pillow's preparation."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms.v2 import functional as T

from infocl.data.decoding import decode_image
from infocl.encoder.network import Encoder
from infocl.export.photographs import rounding_by_size
from infocl.export.preprocessing import describe_preprocessing, preprocessing_graph, square_unit_range
from tests.tiny_run import tiny_params

SIZE = 16
PLAIN = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
LEVEL = 1 / 255
SHAPES = [
    *((1, 1), (1, 2), (2, 1), (3, 3), (16, 16), (16, 17), (17, 16), (15, 16), (16, 400)),
    *((1, 3000), (3000, 1), (7, 1000), (33, 35), (500, 375), (375, 500), (640, 640), (31, 64)),
]


def graph(raw=True, size=SIZE, mean=PLAIN["mean"], std=PLAIN["std"], crop="center"):
    model = preprocessing_graph(size, mean, std, 18, crop, raw=raw)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return lambda images: session.run(["pixels"], {"image": images})[0]


def picture(height, width, count=2, smooth=True):
    """Images with structure at every scale, in the range of real ones."""
    generator = np.random.default_rng(height * 10_007 + width)
    small = generator.integers(0, 256, (count, max(1, height // 5), max(1, width // 5), 3), dtype=np.uint8)
    blurred = torch.from_numpy(small).permute(0, 3, 1, 2).float()
    image = F.interpolate(blurred, (height, width), mode="bicubic").permute(0, 2, 3, 1)
    noise = 0 if smooth else torch.from_numpy(generator.normal(0, 20, (count, height, width, 3))).float()
    return (image + noise).clamp(0, 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_antialiased_resize_of_the_middle_square(shape):
    images = picture(*shape, smooth=False)
    side = min(shape)
    square = T.center_crop(torch.from_numpy(images).permute(0, 3, 1, 2), [side, side])
    if (max(shape) - side) % 2:  # torchvision rounds half a pixel to even, this graph and NumPy down
        top, left = ((length - side) // 2 for length in shape)
        square = torch.from_numpy(images[:, top : top + side, left : left + side]).permute(0, 3, 1, 2)
    expected = T.resize(square.float(), [SIZE, SIZE], antialias=True) / 255
    np.testing.assert_allclose(graph()(images), expected, atol=1e-6)
    np.testing.assert_allclose(
        square_unit_range(torch.from_numpy(images), SIZE, "center"), expected, atol=1e-6
    )


def test_images_of_the_trained_size_are_left_exactly_as_they_are():
    images = picture(SIZE, SIZE, smooth=False)
    exact = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    assert np.array_equal(graph()(images), exact)


@pytest.mark.parametrize("shape", SHAPES)
def test_squashing_is_torchs_antialiased_resize_of_the_whole_image(shape):
    images = picture(*shape, smooth=False)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = T.resize(planes, [SIZE, SIZE], antialias=True) / 255
    np.testing.assert_allclose(graph(crop="squash")(images), expected, atol=1e-6)
    found = square_unit_range(torch.from_numpy(images), SIZE, "squash")
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("crop", ["center", "squash"])
@pytest.mark.parametrize("shape", [(48, 48), (200, 140), (140, 201), (16, 90), (9, 9), (427, 640)])
def test_it_is_how_training_images_were_prepared(tmp_path, shape, crop):
    """Pillow rounds to whole grey levels, twice; nothing else differs, whatever the shape."""
    (image,) = picture(*shape, count=1, smooth=False)
    Image.fromarray(image).save(tmp_path / "image.png")
    prepared = decode_image(tmp_path / "image.png", SIZE, crop).pixels
    gap = np.abs(graph(crop=crop)(image[None])[0] - prepared.transpose(2, 0, 1) / 255)
    assert gap.max() < 1.5 * LEVEL


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    found = Encoder(tiny_params().encoder, [0.4] * 3, [0.2] * 3)
    with torch.no_grad():
        found(torch.rand(16, 3, SIZE, SIZE))
    return found.eval()


def test_the_card_states_what_rounding_does_to_embeddings_of_photographs(encoder):
    """Held against a computation of its own, one image at a time, by Pillow and by the graph."""
    rows = rounding_by_size(encoder, SIZE, "center")
    assert [(row["side"], row["images"]) for row in rows] == [(32, 24), (64, 24), (128, 24), (427, 24)]
    session, errors = graph(mean=[0.4] * 3, std=[0.2] * 3), []
    for photo in load_sample_images().images:
        for step in range(12):
            left = step * (640 - 427) // 11
            square = photo[:, left : left + 427]
            small = Image.fromarray(square).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            whole = (torch.tensor(np.asarray(small)).permute(2, 0, 1)[None] / 255 - 0.4) / 0.2
            with torch.inference_mode():
                served, trained = (
                    encoder.forward_levels(pixels).level4.double()
                    for pixels in (torch.from_numpy(session(square[None])), whole)
                )
            errors.append(float((served - trained).norm() / trained.norm()))
    assert rows[-1]["worst"] == pytest.approx(max(errors), rel=1e-3)
    assert rows[-1]["median"] == pytest.approx(np.median(errors), rel=1e-3)
    assert 0 < rows[-1]["median"] < rows[-1]["worst"] < 0.1


def test_normalisation_is_last_and_by_channel():
    images = picture(40, 30)
    mean, std = [0.1, 0.5, 0.25], [0.5, 0.25, 2.0]
    found = graph(mean=mean, std=std)(images)
    by_channel = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (mean, std))
    expected = (graph()(images) - next(by_channel)) / next(by_channel)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_float_graph_only_normalises():
    unit = np.random.default_rng(0).random((3, 3, SIZE, SIZE), dtype=np.float32)
    found = graph(raw=False, mean=[0.5] * 3, std=[0.25] * 3)(unit)
    np.testing.assert_allclose(found, (unit - 0.5) / 0.25, atol=1e-6)


def test_no_images_give_no_pixels():
    assert graph()(np.zeros((0, 20, 30, 3), np.uint8)).shape == (0, 3, SIZE, SIZE)


def test_the_words_have_the_numbers_in_the_order_of_the_graph():
    squashed = describe_preprocessing(SIZE, [0.1, 0.2, 0.3], [1.0, 2.0, 3.0], "squash")
    assert [step["step"] for step in squashed] == ["resize", "scale", "normalise"]
    assert "the whole image" in squashed[0]["words"]
    steps = describe_preprocessing(SIZE, [0.1, 0.2, 0.3], [1.0, 2.0, 3.0], "center")
    assert [step["step"] for step in steps] == ["crop", "resize", "scale", "normalise"]
    assert (steps[1]["size"], steps[2]["divisor"]) == ([SIZE, SIZE], 255)
    assert (steps[3]["mean"], steps[3]["std"]) == ([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
    operators = [
        node.op_type
        for node in preprocessing_graph(SIZE, [0.1] * 3, [1.0] * 3, 18, "center", raw=True).graph.node
    ]
    order = [operators.index(name) for name in ("Slice", "MatMul")]
    assert order == sorted(order)
    assert operators[-3:] == ["Div", "Sub", "Div"]
