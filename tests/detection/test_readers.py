"""Pascal VOC and COCO as they lie on disk, read into one form; what is wrong with them is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from infocl.detection.coco import read_coco
from infocl.detection.voc import read_voc
from infocl.runtime.errors import UserError
from tests.detection.sets import CLASSES, DIGITS, decoded, scenes, write_coco, write_voc

PICTURES = scenes(6)
TWO = next(index for index, (_, things) in enumerate(PICTURES) if len(things) == 2)
SHOWN = {thing.name for _, things in PICTURES for thing in things}


def expected_boxes(things):
    """Corners from the first pixel's corner to the last pixel's other corner."""
    corners = [[x1, y1, x2 + 1, y2 + 1] for x1, y1, x2, y2 in (thing.box for thing in things)]
    return np.array(corners, np.float32).reshape(-1, 4)


def check(annotated, pictures):
    assert len(annotated.images) == len(pictures)
    for image, (picture, things) in zip(annotated.images, pictures, strict=True):
        assert (image.height, image.width) == picture.shape[:2]
        np.testing.assert_array_equal(image.boxes, expected_boxes(things))
        assert [annotated.classes[label - 1] for label in image.labels] == [thing.name for thing in things]
        assert (image.labels >= 1).all(), "0 is the background"
        pixels = image.load()
        assert pixels.dtype == torch.uint8
        assert np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - picture).mean() < 6, (
            "JPEG of that picture"
        )
        for outline, thing in zip(image.masks or (), things, strict=bool(image.masks)):
            np.testing.assert_array_equal(decoded(outline), thing.mask)


@pytest.fixture
def voc(tmp_path):
    write_voc(tmp_path, "trainval", PICTURES, difficult={(TWO, 1)})
    return tmp_path


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, "train2017", PICTURES, crowd={(TWO, 0)})
    return tmp_path


def test_the_pictures_show_all_classes():
    assert set(DIGITS) == SHOWN


@pytest.mark.parametrize("masks", [False, True])
def test_voc(voc, masks):
    annotated = read_voc(voc, ["VOC2007/trainval"], masks=masks)
    assert annotated.classes == tuple(CLASSES)
    assert all((image.masks is not None) == masks for image in annotated.images)
    check(annotated, PICTURES)
    ignored = [image.ignored.tolist() for image in annotated.images]
    assert ignored[TWO] == [False, True]
    assert sum(map(sum, ignored)) == 1
    assert not any(image.crowd.any() for image in annotated.images)


@pytest.mark.parametrize("masks", [False, True])
def test_coco(coco, masks):
    annotated = read_coco(coco, ["train2017"], masks=masks)
    assert annotated.classes == ("three", "one", "zero"), "by the categories' ids: 3, 7, 12"
    check(annotated, PICTURES)
    for name in ("ignored", "crowd"):
        assert [getattr(image, name).tolist() for image in annotated.images][TWO] == [True, False]
        assert sum(int(getattr(image, name).sum()) for image in annotated.images) == 1


def test_years_of_voc_are_read_together_and_the_test_split_keeps_the_classes(tmp_path):
    more = scenes(3, seed=1)
    write_voc(tmp_path, "trainval", PICTURES)
    write_voc(tmp_path, "trainval", more, year="VOC2012", first=50)
    both = read_voc(tmp_path, ["VOC2007/trainval", "VOC2012/trainval"], masks=True)
    check(both, PICTURES + more)
    zero = [(picture, [t for t in things if t.name == "zero"]) for picture, things in PICTURES]
    write_voc(tmp_path, "test", zero, first=100)
    check(read_voc(tmp_path, ["VOC2007/test"], masks=False, classes=both.classes), zero)
    with pytest.raises(
        UserError, match=r"000\d+\.xml names the class 'three', which no training image shows"
    ):
        read_voc(tmp_path, ["VOC2007/trainval"], masks=False, classes=["one", "zero"])


def test_targets_leave_out_what_is_ignored(voc):
    image = read_voc(voc, ["VOC2007/trainval"], masks=True).images[TWO]
    target = image.target()
    things = PICTURES[TWO][1][:1]
    np.testing.assert_array_equal(target["boxes"].numpy(), expected_boxes(things))
    assert target["labels"].tolist() == [CLASSES.index(things[0].name) + 1]
    np.testing.assert_array_equal(target["masks"].numpy(), [things[0].mask])


def test_images_with_nothing_to_learn_from_are_left_out(tmp_path):
    one = [index for index, (_, things) in enumerate(PICTURES) if len(things) == 1]
    write_voc(tmp_path, "trainval", PICTURES, difficult={(one[0], 0)})
    annotated = read_voc(tmp_path, ["VOC2007/trainval"], masks=False)
    assert len(annotated.trainable().images) == len(PICTURES) - 1
    annotated.require_objects("detection.train")
    write_voc(tmp_path, "none", PICTURES[:1], difficult={(0, 0), (0, 1)}, first=90)
    with pytest.raises(UserError, match=r"detection\.train hold no object that counts"):
        read_voc(tmp_path, ["VOC2007/none"], masks=False).require_objects("detection.train")


def test_an_object_without_pixels_is_not_learned_as_a_mask(voc):
    file = voc / "VOCdevkit/VOC2007/SegmentationObject" / f"{TWO:06d}.png"
    index = np.array(Image.open(file))
    index[index == 1] = 0
    Image.fromarray(index).save(file)
    image = read_voc(voc, ["VOC2007/trainval"], masks=True).images[TWO]
    assert image.ignored.tolist() == [True, True]


def test_a_box_of_coco_without_area_is_ignored_and_one_that_sticks_out_is_cut(coco):
    file = coco / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][3] = 0
    content["annotations"][1]["bbox"][2] = 500
    file.write_text(json.dumps(content))
    images = read_coco(coco, ["train2017"], masks=False).images
    flat = [
        (box, ignored) for image in images for box, ignored in zip(image.boxes, image.ignored, strict=True)
    ]
    assert flat[0][1]
    assert flat[1][0][2] == 96


XML = f"VOCdevkit/VOC2007/Annotations/{TWO:06d}.xml"
PNG = f"VOCdevkit/VOC2007/SegmentationObject/{TWO:06d}.png"
JPG = f"VOCdevkit/VOC2007/JPEGImages/{TWO:06d}.jpg"
LIST = "VOCdevkit/VOC2007/ImageSets/Segmentation/trainval.txt"
JSON = "annotations/instances_train2017.json"


def edit(old, new):
    def change(file):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def grown(file):
    Image.new("L", (10, 10)).save(file)


def too_many(file):
    index = np.array(Image.open(file))
    index[1, 1] = 9
    Image.fromarray(index).save(file)


def emptied(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        (XML, lambda file: file.unlink(), "is missing; bring"),
        (XML, edit("</annotation>", ""), "is not an annotation of VOC"),
        (XML, edit("<xmin>", "<xmin>many"), "could not convert string to float"),
        (XML, edit("<bndbox>", "<box>"), "is not an annotation of VOC"),
        (XML, edit("<width>96</width>", ""), "size/width is missing"),
        (XML, edit("<xmax>", "<xmax>-"), "is empty or outside of 96 x 72 px"),
        (PNG, lambda file: file.unlink(), "is missing; bring"),
        (
            PNG,
            lambda file: file.write_bytes(file.read_bytes()[:60]),
            "cannot be read as a picture of objects",
        ),
        (PNG, lambda file: Image.new("RGB", (96, 72)).save(file), "its pixels are RGB"),
        (PNG, grown, "is 10 x 10 px, but"),
        (PNG, too_many, "shows object 9, but"),
        (JPG, lambda file: file.unlink(), "is missing; bring"),
        (LIST, lambda file: file.unlink(), "is missing; bring"),
        (LIST, emptied, "names no image"),
        (LIST, lambda file: file.write_bytes(b"\xff\xfe\x00"), "is not a text file"),
    ],
)
def test_faults_of_voc_are_named(voc, name, fault, message):
    fault(voc / name)
    check_refusal(lambda: read_voc(voc, ["VOC2007/trainval"], masks=True), name, message)


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        (JSON, lambda file: file.unlink(), "is missing; bring"),
        (JSON, emptied, "cannot be read"),
        (JSON, edit('"annotations"', '"notes"'), "KeyError: 'annotations'"),
        (JSON, edit('"category_id": ', '"category_id": 99'), "KeyError: 99"),
        (JSON, edit('"image_id": 1000', '"image_id": 5'), "the image 5, which is not listed"),
        (JSON, edit('"bbox": [', '"bbox": [1, '), "is not a file of COCO's instances"),
        (JSON, edit('"counts"', '"numbers"'), "KeyError: 'counts'"),
        (JSON, edit('"size": [72', '"size": [71'), "a mask of size"),
        ("train2017/000000001000.jpg", lambda file: file.unlink(), "is missing; bring"),
    ],
)
def test_faults_of_coco_are_named(coco, name, fault, message):
    fault(coco / name)
    check_refusal(lambda: read_coco(coco, ["train2017"], masks=True), name, message)


def check_refusal(read, name, message):
    with pytest.raises(UserError) as caught:
        read()
    message = str(caught.value)
    assert name in message
    assert message in message
    assert "\n" not in message


def test_other_categories_in_the_test_split_are_refused(coco):
    write_coco(coco, "val2017", PICTURES[:1], ids=(1, 2, 3))
    with pytest.raises(UserError, match=r"instances_val2017\.json has other categories"):
        read_coco(coco, ["val2017"], masks=False, classes=("three", "one", "null"))


def test_a_split_of_voc_without_its_year_is_refused(voc):
    with pytest.raises(UserError, match=r"'trainval' of detection\.layout voc must be named as in"):
        read_voc(voc, ["trainval"], masks=False)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "cannot be read as an image"),
        (lambda file: Image.new("RGB", (50, 40)).save(file), "is 50 x 40 px but annotated as 96 x 72"),
        (lambda file: file.unlink(), "is missing; put the image there"),
    ],
)
def test_faults_of_pixels_are_named(voc, fault, message):
    image = read_voc(voc, ["VOC2007/trainval"], masks=False).images[TWO]
    fault(image.path)
    check_refusal(image.load, f"{TWO:06d}.jpg", message)
