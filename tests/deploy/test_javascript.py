"""The JavaScript example: Node.js and a real browser repeat what Python computes."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.javascript import BROWSERS, installed, lines, program


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    """The example with its packages."""
    return installed(tmp_path_factory)


@pytest.fixture
def node(javascript):
    """Run a script of the example."""

    def run(script, *arguments):
        command = [program("node"), javascript / script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def example(folder):
    with np.load(folder / "example.npz") as arrays:
        return arrays["images"], arrays["embeddings"]


def save_examples(folder, place):
    paths = []
    for number, image in enumerate(example(folder)[0]):
        paths.append(place / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def test_node_repeats_the_example_and_embeds_files(node, folder, tmp_path):
    first, *rows = lines(node("embed.js", folder, *save_examples(folder, tmp_path)))
    assert 0 <= first["relative_error"] < 1e-5
    embeddings = example(folder)[1]
    np.testing.assert_allclose([row["embedding"] for row in rows], embeddings, rtol=1e-4, atol=1e-6)
    cosines = embeddings @ embeddings.T / np.outer(*2 * [np.linalg.norm(embeddings, axis=1)])
    for number, row in enumerate(rows):
        assert cosines[number, row["nearest"]["row"]] == pytest.approx(1, abs=1e-6)
        assert row["nearest"]["cosine"] == pytest.approx(1, abs=1e-6)


def ramps():
    rows, columns = np.mgrid[0:1:24j, 0:1:36j]
    return (np.stack([rows, columns, 1 - rows], axis=-1) * 255).astype(np.uint8)


def save_turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(ramps())).save(path, exif=exif)
    return ramps()


def save_grey(path):
    Image.fromarray(ramps()[..., 0]).save(path)
    return np.repeat(ramps()[..., :1], 3, axis=-1)


def save_transparent(path):
    pixels = ramps()
    alpha = np.repeat(np.where(np.arange(36) < 18, 255, 0).astype(np.uint8)[None, :, None], 24, axis=0)
    Image.fromarray(np.concatenate([pixels, alpha], axis=-1), "RGBA").save(path)
    pixels[:, 18:] = 255
    return pixels


@pytest.mark.parametrize("save", [save_turned, save_grey, save_transparent])
def test_node_sees_what_python_sees(node, folder, tmp_path, save):
    pixels = save(tmp_path / "x.png")
    row = lines(node("embed.js", folder, tmp_path / "x.png"))[1]
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    (expected,) = session.run(None, {"image": np.ascontiguousarray(pixels)[None]})
    np.testing.assert_allclose(row["embedding"], expected[0], rtol=1e-3, atol=1e-5)


def spoil(folder):
    images, embeddings = example(folder)
    np.savez(folder / "example.npz", images=images, embeddings=embeddings * np.float32(1.001))


def test_node_refuses_an_encoder_that_does_not_repeat_its_example(node, folder):
    spoil(folder)
    done = node("embed.js", folder)
    assert done.returncode == 1
    assert done.stderr.startswith("the example is repeated within 0.00099")


@pytest.fixture
def page(node, folder, tmp_path):
    """Build the page, serve it from its folder, and hand files to it in a browser; returns what it showed."""
    servers = []

    def run(*files):
        done = node("build_page.js", folder, tmp_path / "site")
        assert done.returncode == 0, done.stderr
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        *shown, last = lines(node("browse.js", program(*BROWSERS), url, tmp_path / "screen", *files))
        return shown, last["problems"]

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_page_shows_the_nearest_examples(page, folder, tmp_path):
    """A dropped and a chosen file, something that is no image, and an image again."""
    paths = save_examples(folder, tmp_path)
    (tmp_path / "notes.png").write_text("no image")
    (start, *shown), problems = page(paths[3], paths[7], tmp_path / "notes.png", paths[0])
    assert "This browser repeats the example within" in start["about"]
    assert not start["visible"]
    assert problems == []
    embeddings = example(folder)[1]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for message, number in zip((shown[0], shown[1], shown[3]), (3, 7, 0), strict=True):
        assert message["visible"]
        assert message["error"] == ""
        cosines = unit @ unit[number]
        assert len(message["neighbours"]) == 5
        np.testing.assert_allclose(
            [row["cosine"] for row in message["neighbours"]], np.sort(cosines)[::-1][:5], atol=2e-4
        )
        for row in message["neighbours"]:
            assert row["cosine"] == pytest.approx(cosines[row["row"]], abs=2e-4)
    assert not shown[2]["visible"]
    assert shown[2]["error"].startswith("notes.png cannot be read as an image")


def test_the_page_refuses_an_encoder_that_does_not_repeat_its_example(page, folder):
    spoil(folder)
    (start,), problems = page()
    assert start["about"] == "The encoder cannot be used."
    assert "so its embeddings cannot be trusted" in start["error"]
    assert problems == []
