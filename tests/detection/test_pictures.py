"""The picture shows the truth above, and below it what was found with some certainty."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet
from infocl.detection.evaluate import Found, encode_masks
from infocl.detection.pictures import COLOURS, TILE, write_examples

PAD = 4  # px around each tile
TRUE, SURE, UNSURE = [40, 40, 120, 120], [160, 160, 240, 240], [20, 200, 100, 280]
GREY = 90


def outlines(boxes):
    masks = np.zeros((len(boxes), TILE, TILE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20] = True
    return encode_masks(masks)


@pytest.mark.parametrize("masks", [False, True])
def test_boxes_and_masks_are_drawn_where_they_are(tmp_path, masks):
    file = tmp_path / "grey.png"
    Image.new("RGB", (TILE, TILE), (GREY, GREY, GREY)).save(file)
    truth = AnnotatedImage(
        file,
        TILE,
        TILE,
        np.array([TRUE], np.float32),
        np.array([2]),
        np.array([False]),
        np.array([False]),
        outlines([TRUE]) if masks else None,
    )
    boxes = [SURE, UNSURE]
    answer = Found(
        np.array(boxes, np.float32),
        np.array([1, 2]),
        np.array([0.9, 0.2], np.float32),
        outlines(boxes) if masks else None,
    )
    write_examples(tmp_path / "examples.png", AnnotatedSet(("cat", "dog"), (truth,)), [answer])
    picture = np.array(Image.open(tmp_path / "examples.png"))
    rows = picture[PAD : PAD + TILE, PAD:-PAD], picture[-PAD - TILE : -PAD, PAD:-PAD]
    for row, shown, label in ((rows[0], [TRUE], 2), (rows[1], [SURE], 1)):
        for box in (TRUE, SURE, UNSURE):
            x1, y1, x2, y2 = box
            edge, middle = row[(y1 + y2) // 2, x1], row[(y1 + y2) // 2, (x1 + x2) // 2]
            colour = [int(value) for value in COLOURS(label, bytes=True)[:3]]
            assert edge.tolist() == (colour if box in shown else [GREY] * 3)
            filled = [(GREY + value) // 2 for value in colour]
            expected = filled if masks and box in shown else [GREY] * 3
            np.testing.assert_allclose(middle, expected, atol=1)


def test_images_of_any_shape_are_scaled_to_their_tile(tmp_path):
    wide = tmp_path / "wide.png"
    Image.new("RGB", (640, 160), (GREY, GREY, GREY)).save(wide)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    image = AnnotatedImage(wide, 640, 160, *none, np.zeros(0, bool), np.zeros(0, bool), None)
    answer = Found(*none, np.zeros(0, np.float32), None)
    write_examples(tmp_path / "examples.png", AnnotatedSet(("cat",), (image,)), [answer])
    picture = np.array(Image.open(tmp_path / "examples.png"))
    assert (picture[PAD : PAD + 80, PAD:-PAD] == GREY).all()
    assert (picture[PAD + 80 : PAD + TILE, PAD:-PAD] == 255).all()
