"""`infocl embed`: the right numbers beside the right names, and one line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infocl.deploy import embed as module
from infocl.encoder.files import load_encoder
from infocl.export.graph import to_onnx
from tests.deploy.test_verify import change_model, describe, sum_again
from tests.tiny_run import SIZE
from tests.workspace import ROOT


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
        squashing = to_onnx(encoder, SIZE, 18, "squash")
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


def _truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def test_damaged_files_are_named_skipped_and_counted(folder, infocl, tmp_path):
    expected = save_examples(folder, tmp_path / "photos")
    (tmp_path / "photos/4b.jpg").write_bytes(b"not an image")
    _truncated(tmp_path / "photos/4c.png")
    output = tmp_path / "features.parquet"
    result = infocl("embed", tmp_path / "photos", "-o", output, "--encoder", folder)
    assert result.exit_code == 0
    assert "Embedded 10 images" in result.stdout
    assert "2 files skipped" in result.stdout
    message = [line for line in result.stderr.splitlines() if "skipped:" in line]
    assert len(message) == 2
    assert "4b.jpg cannot be read as an image" in message[0]
    assert "4c.png cannot be read as an image" in message[1]
    found = read(output)
    assert list(found) == sorted(expected)
    for path, embedding in expected.items():
        near(found[path], embedding)


def test_strict_refuses_the_first_damaged_file_and_keeps_the_old_table(folder, refuses, tmp_path):
    save_examples(folder, tmp_path / "photos")
    _truncated(tmp_path / "photos/4c.png")
    output = tmp_path / "out/features.parquet"
    output.parent.mkdir()
    output.write_bytes(b"old")
    assert "4c.png cannot be read" in refuses(
        "embed", tmp_path / "photos", "-o", output, "--encoder", folder, "--strict"
    )
    assert output.read_bytes() == b"old"
    assert [path.name for path in output.parent.iterdir()] == ["features.parquet"]


def test_nothing_readable_is_refused(folder, infocl, tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    result = infocl("embed", tmp_path / "x.png", "-o", tmp_path / "features.parquet", "--encoder", folder)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("infocl: none of the files can be read as an image")
    assert not (tmp_path / "features.parquet").exists()


def test_a_name_that_is_no_text_is_skipped(folder, infocl, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    Image.new("RGB", (20, 20)).save(tmp_path / "b.png")
    result = infocl("embed", tmp_path, "-o", tmp_path / "features.parquet", "--encoder", folder)
    assert result.exit_code == 0, result.stderr
    assert r"\xff.png' has a name that is not UTF-8" in result.stderr
    assert list(read(tmp_path / "features.parquet")) == [str(tmp_path / "b.png")]


def test_a_pipe_among_the_images_is_skipped(folder, tmp_path):
    """In a folder, in a list and by name; opening one would wait for ever."""
    photos = tmp_path / "photos"
    expected = save_examples(folder, photos)
    os.mkfifo(photos / "4b.png")
    os.mkfifo(tmp_path / "list.txt")
    (tmp_path / "more.txt").write_text(f"{photos}/4b.png\n")
    output = tmp_path / "features.parquet"
    names = (photos, tmp_path / "list.txt", tmp_path / "more.txt", photos / "4b.png")
    done = embed_in_a_process(folder, names, output, timeout=900)
    assert done.returncode == 0, done.stderr
    skipped = [line for line in done.stderr.splitlines() if "skipped:" in line]
    assert [line.split(" is not a plain file")[0] for line in skipped] == [
        f"infocl: skipped: {photos / '4b.png'}",
        f"infocl: skipped: {tmp_path / 'list.txt'}",
    ]
    assert "Embedded 10 images" in done.stdout
    assert list(read(output)) == sorted(expected)


def test_other_formats_of_output_are_refused(folder, refuses, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    message = refuses("embed", tmp_path / "a.png", "-o", tmp_path / "x.csv", "--encoder", folder)
    assert "x.csv does not end in .parquet" in message


def embed_in_a_process(folder, photos, output, **limits):
    return subprocess.run(
        [sys.executable, "-m", "infocl", "embed", *photos, "-o", output, "--encoder", folder],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        **limits,
    )


def test_an_output_folder_that_cannot_be_written_is_one_line(folder, tmp_path):
    save_examples(folder, tmp_path / "photos")
    (tmp_path / "file").write_text("")
    done = embed_in_a_process(folder, [tmp_path / "photos"], tmp_path / "file/features.parquet")
    assert done.returncode == 2
    assert done.stderr.startswith("infocl: a file lies where a folder must be")
    assert done.stderr.count("\n") == 1
    done = embed_in_a_process(folder, [tmp_path / "photos"], "/sys/features.parquet")  # not even root may
    assert done.returncode == 2
    assert done.stderr.startswith("infocl: writing or reading is not allowed at /sys/")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_and_keeps_the_old_table(folder, tmp_path):
    save_examples(folder, tmp_path / "photos")
    output = tmp_path / "out/features.parquet"
    output.parent.mkdir()
    output.write_bytes(b"old")
    full = embed_in_a_process(
        folder,
        [tmp_path / "photos"],
        output,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert full.returncode == 2, full.stderr
    assert full.stderr.splitlines()[-1].startswith("infocl: the disk is full")
    assert "Traceback" not in full.stderr
    assert output.read_bytes() == b"old"
    assert [path.name for path in output.parent.iterdir()] == ["features.parquet"]


def write_about(folder, text):
    """Change `encoder.json`, and make the checksums fit."""
    (folder / "encoder.json").write_text(text)
    sum_again(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "is not a folder"),
        (lambda folder: (folder / "encoder.json").unlink(), "encoder.json is missing; SHA256SUMS lists it"),
        (lambda folder: write_about(folder, "{"), "encoder.json cannot be read"),
        (lambda folder: write_about(folder, '{"format": 1}'), "format 1, this version of infocl reads 2"),
        (lambda folder: (folder / "encoder.onnx").unlink(), "encoder.onnx is missing"),
        (
            lambda folder: shutil.copy(folder / "encoder.int8.onnx", folder / "encoder.onnx"),
            "encoder.onnx is damaged or altered",
        ),
    ],
)
def test_a_wrong_encoder_folder_is_named(folder, refuses, tmp_path, harm, message):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    harm(folder)
    assert re.search(
        message, refuses("embed", tmp_path / "a.png", "-o", tmp_path / "f.parquet", "--encoder", folder)
    )


def test_a_variant_that_is_not_shipped_is_named_with_its_reason(folder, refuses, tmp_path):
    about = json.loads((folder / "encoder.json").read_text())
    about["variants"]["int8"] |= {"shipped": False, "file": None, "sha256": None, "reason": "too far off"}
    write_about(folder, json.dumps(about))
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    arguments = ("embed", tmp_path / "a.png", "-o", tmp_path / "f.parquet", "--encoder", folder, "--variant")
    assert "no variant int8 (too far off); choose of float32, float16" in refuses(*arguments, "int8")
    assert "no variant int4; choose" in refuses(*arguments, "int4")
