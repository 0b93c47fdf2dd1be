"""`infocl embed` of damaged files, wrong folders and outputs that cannot be written: one line each."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.deploy.test_embed import near, read, save_examples
from tests.deploy.test_verify import sum_again
from tests.workspace import ROOT


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
