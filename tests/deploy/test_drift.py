"""`infocl drift`: images like those of the export pass, others do not, false alarms keep to their rate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from infocl.deploy.exported import Export
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.twosample import PERMUTATIONS, mmd_test
from infocl.export.look import LOOKS, looks
from infocl.export.reference import write_reference
from infocl.prepared.reader import load_prepared
from infocl.runtime.files import sha256_file
from tests.deploy.test_verify import describe, sum_again
from tests.tiny_run import digit_images
from tests.workspace import write_set

REFERENCE = "drift.npz"


def saved(folder, images):
    """PNG files of images (N, S, S, 3)."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="module")
def shuffled():
    """Images in random order: the shipped digits are sorted by writer, which is a drift of its own."""
    images = digit_images(0, 360)[0]
    return np.random.default_rng(0).permutation(images)


@pytest.fixture
def folder(folder, shuffled, tmp_path):
    """The exported folder, its sample made of 60 shuffled images."""
    parts = {"train": shuffled[:60], "test": shuffled[60:120]}
    labelled = {name: (images, np.zeros(60, np.int64)) for name, images in parts.items()}
    prepared = tmp_path / "prepared"
    write_set(prepared, labelled, name="digits", classes=["digit"], mean=[0.5] * 3, std=[0.2] * 3)
    encoder = OnnxEncoder(Export(folder), "float32")
    described = write_reference(folder / REFERENCE, load_prepared(prepared), encoder.embed, 60)
    describe(folder, lambda about: about.update(drift=described))
    return folder


@pytest.fixture
def alike(shuffled, tmp_path):
    """Images of the kind that the encoder was measured on, none of which is in the sample."""
    return saved(tmp_path / "alike", shuffled[120:180])


@pytest.fixture
def darker(shuffled, tmp_path):
    """The same, at half the brightness, and one file that is no image."""
    folder = saved(tmp_path / "darker", shuffled[120:180] // 2)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_images_of_the_known_kind_pass(folder, alike, infocl):
    done = infocl("drift", alike, "--encoder", folder)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("No drift: 60 of 60 images cannot be told from the 60 test images of ")


def test_other_images_are_reported_by_one_line_and_exit_code_3(folder, darker, infocl):
    done = infocl("drift", darker, "--encoder", folder)
    assert done.exit_code == 3, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("Drift: 60 of 61 images differ from the 60 test images of the encoder by their ")
    assert "brightness 0." in line
    done = infocl("drift", darker, "--encoder", folder, "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert (found["drift"], found["compared"], found["skipped"], found["known"]) == (True, 60, 1, 60)
    assert found["p"] == pytest.approx(2 * min(found["features_p"], found["looks_p"]))
    assert found["looks"].keys() == set(LOOKS)
    new, known = found["looks"]["brightness"]
    assert new == pytest.approx(known / 2, rel=0.1)
    assert found["encoder_sha256"] == sha256_file(folder / "encoder.onnx")


def test_the_newest_files_alone(folder, alike, darker, infocl):
    for path in darker.iterdir():
        path.rename(alike / f"new-{path.name}")
    done = infocl("drift", alike, "--encoder", folder, "--newest", 40, "--json")
    assert json.loads(done.stdout)["images"] == 40


def _without(folder):
    (folder / REFERENCE).unlink()
    describe(folder, lambda about: about.pop("drift"))


def _other_arrays(folder):
    np.savez(folder / REFERENCE, mean=np.zeros(3, np.float32))
    sum_again(folder)


def _not_finite(folder):
    arrays = dict(np.load(folder / REFERENCE))
    arrays["features"][0] = np.nan
    np.savez(folder / REFERENCE, **arrays)
    sum_again(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without, "encoder.json names no sample to compare with (drift); export again"),
        (_other_arrays, f"{REFERENCE} holds no array 'directions'"),
        (_not_finite, f"{REFERENCE} cannot be read (features is float16 "),
    ],
)
def test_what_cannot_be_compared_is_refused(folder, alike, refuses, harm, message):
    harm(folder)
    assert message in refuses("drift", alike, "--encoder", folder)


def test_too_few_images_and_a_rate_that_cannot_be_kept(folder, tmp_path, refuses):
    few = saved(tmp_path / "few", digit_images(0, 19)[0])
    assert "19 images of 19 files can be read, but a comparison needs 20" in refuses(
        "drift", few, "--encoder", folder
    )
    assert "0.001 cannot be kept; choose one between 0.002 and 0.5" in refuses(
        "drift", few, "--encoder", folder, "--false-alarms", 0.001
    )


def test_the_discrepancy_is_that_of_the_definition():
    generator = np.random.default_rng(3)
    known, new = generator.normal(size=(7, 3)), generator.normal(0.5, 1, (5, 3))

    def mean(xs, ys):
        return np.mean([[np.exp(-((x - y) ** 2).sum() / (2 * 1.7**2)) for y in ys] for x in xs])

    expected = mean(known, known) + mean(new, new) - 2 * mean(known, new)
    assert mmd_test(known, new, 1.7)[0] == pytest.approx(expected, rel=1e-5)


def test_the_looks_are_those_of_the_definition():
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 3), np.uint8)
    pixels = image[0] / 255
    luma = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in pixels]
    down = [abs(luma[y + 1][x] - luma[y][x]) for y in range(2) for x in range(4)]
    across = [abs(luma[y][x + 1] - luma[y][x]) for y in range(3) for x in range(3)]
    flat = [colour for row in pixels for colour in row]
    expected = [
        np.mean(luma),
        np.std(luma),
        np.mean([max(colour) - min(colour) for colour in flat]),
        np.mean([colour[0] - colour[2] for colour in flat]),
        (np.mean(down) + np.mean(across)) / 2,
    ]
    np.testing.assert_allclose(looks(image)[0], expected, rtol=1e-5)


def test_false_alarms_keep_to_their_rate_and_a_shift_is_found():
    """A heavy tail and unequal sizes change nothing, because the level is that of permutations."""
    generator = np.random.default_rng(0)
    drawn = [(generator.standard_t(2, (40, 3)), generator.standard_t(2, (25, 3))) for _ in range(400)]
    p = np.array([mmd_test(known, new, 2.0)[1] for known, new in drawn])
    shifted = np.array([mmd_test(known, new + 1.5, 2.0)[1] for known, new in drawn[:50]])
    assert p.min() >= 1 / (1 + PERMUTATIONS)
    for level in (0.05, 0.2, 0.5):  # within four standard errors, from above and from below
        assert abs((p <= level).mean() - level) < 4 * (level * (1 - level) / len(p)) ** 0.5
    assert (shifted <= 0.01).mean() > 0.9
