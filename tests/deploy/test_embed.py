"""`infocl embed`: the right numbers beside the right names, and one line for everything that goes wrong."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infocl.deploy import embed as module
from infocl.encoder.files import load_encoder
from infocl.export.graph import network_graph, with_preprocessing
from tests.deploy.test_verify import change_model, describe
from tests.tiny_run import SIZE


def example(folder):
    with np.load(folder / "example.npz") as arrays:
        return arrays["images"], arrays["embeddings"]


def save_examples(folder, photos):
    """The example's images as files, out of the order of their rows; returns the embeddings by path."""
    photos.mkdir()
    images, embeddings = example(folder)
    expected = {}
    for number, (image, embedding) in enumerate(zip(images, embeddings, strict=True)):
        path = photos / f"{9 - number}.png"
        Image.fromarray(image).save(path)
        expected[str(path)] = embedding
    return expected


def read(path):
    table = pq.read_table(path)
    return dict(
        zip(table["path"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32), strict=True)
    )


def run_model(folder, image, file="encoder.onnx"):
    return onnxruntime.InferenceSession(folder / file).run(None, {"image": image[None]})[0][0]


def near(found, expected, tolerance=1e-5):
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


def test_each_image_gets_its_own_embedding(folder, infocl, tmp_path):
    expected = save_examples(folder, tmp_path / "photos")
    output = tmp_path / "features.parquet"
    result = infocl("embed", tmp_path / "photos", "-o", output, "--encoder", folder)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"Embedded 10 images into {output} (64 numbers each).\n"
    found = read(output)
    assert list(found) == sorted(expected)
    for path, embedding in expected.items():
        near(found[path], embedding)


def squash(exported, folder):
    """Make the folder that of an encoder that takes whole images, whatever their shape."""
    encoder, _ = load_encoder(exported[0] / "models/pretrain")

    def change(model):
        kept = [entry for entry in model.metadata_props if entry.key != "preprocessing"]
        squashing = with_preprocessing(network_graph(encoder, SIZE, 18), encoder, SIZE, "squash")
        squashing.metadata_props.extend(kept)
        model.CopyFrom(squashing)

    change_model(folder, change)
    with np.load(folder / "example.npz") as old:
        images = {name: old[name] for name in old if name.startswith("images")}
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    embeddings = {
        name.replace("images", "embeddings"): session.run(None, {"image": batch})[0]
        for name, batch in images.items()
    }
    np.savez(folder / "example.npz", **images, **embeddings)
    describe(folder, lambda about: about["preprocessing"].pop(0))


def test_an_encoder_that_squashes_gets_the_whole_image(exported, folder, infocl, tmp_path):
    squash(exported, folder)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    result = infocl("embed", tmp_path / "wide.png", "-o", tmp_path / "f.parquet", "--encoder", folder)
    assert result.exit_code == 0, result.stderr
    near(read(tmp_path / "f.parquet")[str(tmp_path / "wide.png")], run_model(folder, pixels))


def test_the_table_says_what_made_it(folder, infocl, tmp_path):
    save_examples(folder, tmp_path / "photos")
    output = tmp_path / "features.parquet"
    assert (
        infocl("embed", tmp_path / "photos", "-o", output, "--encoder", folder, "--variant", "int8").exit_code
        == 0
    )
    schema = pq.read_schema(output)
    assert schema.field("embedding").type.list_size == 64
    assert str(schema.field("embedding").type.value_type) == "float"
    about = json.loads((folder / "encoder.json").read_text())
    message = json.loads(schema.metadata[b"infocl"])
    assert message["encoder_sha256"] == about["variants"]["int8"]["sha256"]
    assert schema.metadata[b"encoder_sha256"].decode() == message["encoder_sha256"]
    assert (message["variant"], message["normalized"]) == ("int8", False)
    first, embedding = next(iter(read(output).items()))
    near(embedding, run_model(folder, np.asarray(Image.open(first)), "encoder.int8.onnx"))
    assert not np.allclose(embedding, run_model(folder, np.asarray(Image.open(first))), rtol=1e-4)


def test_sizes_are_mixed_and_rows_stay_in_order(folder, infocl, tmp_path, monkeypatch):
    """Several chunks and batches, each with images of several shapes, wide, tall and square."""
    monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr(module, "BATCH", 2)
    generator = np.random.default_rng(0)
    paths = []
    for number in range(23):
        height, width = [(16, 16), (33, 20), (20, 41), (1, 9)][number % 4]
        paths.append(tmp_path / f"{number:02}.png")
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    output = tmp_path / "features.parquet"
    assert infocl("embed", *paths, "-o", output, "--encoder", folder).exit_code == 0
    found = read(output)
    assert list(found) == [str(path) for path in paths]
    for path in paths:
        near(found[str(path)], run_model(folder, np.asarray(Image.open(path))))


def test_large_images_go_through_in_small_parts(folder, infocl, tmp_path, monkeypatch):
    taken = []
    embed = module.OnnxEncoder.embed
    monkeypatch.setattr(module, "BATCH_BYTES", 2 * 300 * 300 * 3)
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 300 * 300 * 3)
    monkeypatch.setattr(
        module.OnnxEncoder, "embed", lambda self, images: taken.append(len(images)) or embed(self, images)
    )
    for number in range(7):
        Image.new("RGB", (300, 300), (number, 0, 0)).save(tmp_path / f"{number}.png")
    output = tmp_path / "features.parquet"
    assert infocl("embed", tmp_path, "-o", output, "--encoder", folder).exit_code == 0
    assert taken[-5:] == [2, 1, 2, 1, 1]  # after the example
    assert pq.ParquetFile(output).num_row_groups == 3


def test_folders_patterns_lists_and_files_name_images_once(folder, infocl, tmp_path):
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / ".thumbnails").mkdir()
    for name in ("a.png", "sub/b.jpg", ".thumbnails/a.png", "c.gif"):
        Image.new("RGB", (20, 20), "red").save(photos / name)
    (photos / "notes.md").write_text("no image")
    bare = tmp_path / "bare"  # an image without a suffix, named by itself
    (photos / "a.png").rename(bare)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{bare}\n\n{photos}/c.gif\n")
    output = tmp_path / "features.parquet"
    result = infocl("embed", photos / "**/*.jpg", listed, photos, "-o", output, "--encoder", folder)
    assert result.exit_code == 0, result.stderr
    assert list(read(output)) == [str(photos / "sub/b.jpg"), str(bare), str(photos / "c.gif")]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nothing", "nothing does not exist; name an image"),
        ("none*.png", "no file matches none*.png"),
        ("empty", "empty holds no images"),
        ("list.txt", "list.txt lists no images"),
        ("binary.txt", "binary.txt is not text in UTF-8"),
    ],
)
def test_what_leads_to_nothing_is_named(folder, refuses, tmp_path, monkeypatch, argument, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert message in refuses("embed", argument, "-o", "features.parquet", "--encoder", folder)
    assert not (tmp_path / "features.parquet").exists()
