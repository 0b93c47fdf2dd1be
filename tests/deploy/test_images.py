"""Images of every kind through `infocl embed`: the encoder sees what a person sees, or the file is named."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture
def embedding_of(folder, infocl, tmp_path):
    """Embed one file."""

    def run(path):
        output = tmp_path / "features.parquet"
        result = infocl("embed", path, "-o", output, "--encoder", folder, "--strict")
        assert result.exit_code == 0, result.stderr
        return np.array(pq.read_table(output)["embedding"][0].as_py(), np.float32)

    return run


@pytest.fixture
def expected_of(folder):
    """What the ONNX file gives of pixels."""
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    return lambda pixels: session.run(None, {"image": np.ascontiguousarray(pixels)[None]})[0][0]


def picture(height=24, width=36):
    """Colours that differ from corner to corner, so that a turn or a swap of channels shows."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack([rows, columns, 1 - rows], axis=-1) * 255).astype(np.uint8)


def assert_same(found, expected, tolerance=1e-5):
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


def grey(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


def three(plane):
    return np.repeat(plane[..., None], 3, axis=-1)


def save_grey(path):
    Image.fromarray(grey(picture())).save(path)
    return three(grey(picture()))


def save_sixteen_bits(path):
    plane = np.linspace(0, 65535, 24 * 36).reshape(24, 36).astype(np.uint16)
    Image.fromarray(plane).save(path)
    return three((plane >> 8).astype(np.uint8))


def save_transparent(path):
    """The left half is opaque, the right half nothing, over black pixels that must not be seen."""
    pixels = picture()
    pixels[:, 18:] = 0
    alpha = np.full((24, 36, 1), 255, np.uint8)
    alpha[:, 18:] = 0
    Image.fromarray(np.concatenate([pixels, alpha], axis=-1), "RGBA").save(path)
    pixels[:, 18:] = 255
    return pixels


def save_palette(path):
    image = Image.fromarray(picture()).quantize(16)
    image.save(path)
    return np.asarray(image.convert("RGB"))


def save_cmyk(path):
    cyan = np.zeros((24, 36, 4), np.uint8)
    cyan[..., 0] = np.linspace(0, 255, 36).astype(np.uint8)
    Image.fromarray(cyan, "CMYK").save(path)
    pixels = np.full((24, 36, 3), 255, np.uint8)
    pixels[..., 0] = 255 - cyan[..., 0]
    return pixels


def save_animation(path):
    frames = [Image.fromarray(picture()).quantize(64), Image.new("RGB", (36, 24), "red").quantize(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return np.asarray(frames[0].convert("RGB"))


def save_turned(path):
    """Stored lying, with the camera's note that it must be turned by 90 degrees clockwise."""
    stored = Image.fromarray(np.rot90(picture()))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(path, exif=exif)
    return picture()


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey.png", save_grey),
        ("sixteen.png", save_sixteen_bits),
        ("sixteen.tiff", save_sixteen_bits),
        ("rgba.png", save_transparent),
        ("rgba.webp", lambda path: save_transparent(path)),
        ("palette.png", save_palette),
        ("cmyk.tiff", save_cmyk),
        ("animated.gif", save_animation),
        ("turned.png", save_turned),
    ],
)
def test_the_encoder_sees_what_a_person_sees(embedding_of, expected_of, tmp_path, name, save):
    path = tmp_path / name
    pixels = save(path)
    lossy = name.endswith(".webp")
    assert_same(embedding_of(path), expected_of(pixels), 0.3 if lossy else 1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 4), (700, 501)])
def test_any_shape_is_embedded(embedding_of, expected_of, tmp_path, shape):
    pixels = picture(*shape)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert_same(embedding_of(tmp_path / "x.png"), expected_of(pixels))


def write_bomb(path, side):
    """A PNG of a few hundred kB that unfolds to side x side px, written without holding them."""
    Image.new("1", (side, side)).save(path)


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_images_that_unfold_to_gigabytes_are_refused(folder, refuses, tmp_path, side):
    path = tmp_path / "bomb.png"
    write_bomb(path, side)
    assert path.stat().st_size < 1_000_000
    message = refuses("embed", path, "-o", tmp_path / "f.parquet", "--encoder", folder, "--strict")
    assert message == f"infocl: {path} has too many pixels to be read safely; shrink or remove it"


@pytest.mark.parametrize("value", [-1.0, 300.0, 65535.0])
def test_numbers_of_unknown_range_are_refused(folder, refuses, tmp_path, value):
    Image.fromarray(np.full((20, 20), value, np.float32)).save(tmp_path / "x.tiff")
    message = refuses(
        "embed", tmp_path / "x.tiff", "-o", tmp_path / "f.parquet", "--encoder", folder, "--strict"
    )
    assert f"its pixels range from {value:g} to {value:g}" in message


def test_a_drawing_in_postscript_is_not_run(folder, refuses, tmp_path):
    (tmp_path / "x.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n"
    )
    message = refuses(
        "embed", tmp_path / "x.eps", "-o", tmp_path / "f.parquet", "--encoder", folder, "--strict"
    )
    assert "x.eps cannot be read as an image" in message
