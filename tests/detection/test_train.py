"""Fine-tuning learns, repeats itself, resumes bit for bit, and starts from the encoder's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from infocl.detection import detect as stage
from infocl.detection import train
from infocl.detection.voc import read_voc
from infocl.encoder.files import load_encoder, save_encoder
from infocl.encoder.network import Encoder
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.paths import CHECKPOINTS, DETECTION, PRETRAIN
from tests.detection.sets import scenes, write_coco, write_voc
from tests.workspace import tiny_params

SMALL = {
    "layout": "voc",
    "root": ".",
    "train": ["VOC2007/trainval"],
    "test": ["VOC2007/test"],
    "shorter_sides": [56, 72],
    "longer_side": 96,
    "iterations": 6,
    "batch_size": 2,
    "lr": 0.02,
    "warmup_iterations": 0,
    "fpn_channels": 16,
    "rois_per_image": 32,
}


def small(seed=0, precision="fp32", minutes=5.0, **changes):
    chosen = {f"detection__{name}": value for name, value in (SMALL | changes).items()}
    loop = {"train__precision": precision, "train__checkpoint_minutes": minutes}
    return tiny_params(encoder__arch="resnet50", seed=seed, **loop, **chosen)


def write_encoder(seed=0):
    torch.manual_seed(seed)
    encoder = Encoder(small().encoder, [0.4] * 3, [0.25] * 3).train()
    with torch.no_grad():
        for _ in range(20):
            encoder(torch.rand(8, 3, 64, 64))
    PRETRAIN.mkdir(parents=True, exist_ok=True)
    save_encoder(PRETRAIN, encoder.eval(), {"image_size": 32})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_encoder()
    write_voc(tmp_path, "trainval", scenes(8))
    write_voc(tmp_path, "test", scenes(3, seed=1), first=100)
    return tmp_path


def weights():
    return load_file(DETECTION / stage.WEIGHTS_FILE)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows():
    lines = (DETECTION / "history.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), map(float, line.split(",")), strict=True)) for line in lines[1:]]


class KilledError(BaseException):
    """Stands for a kill in the middle of the loop."""


def test_a_killed_run_ends_with_the_same_weights_and_the_seed_decides(workspace, monkeypatch):
    """Of masks, whose network has that of boxes in it."""
    params = small(tasks=["masks"], minutes=1e-9)
    stage.detect(params)
    whole, course = weights(), rows()
    assert not list(CHECKPOINTS.iterdir()), "a complete run leaves no checkpoint"
    (DETECTION / stage.WEIGHTS_FILE).unlink()
    step, taken = train._step, []

    def killed_at_the_fourth(*arguments):
        if len(taken) == 4:
            raise KilledError
        taken.append(step(*arguments))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(train, "_step", killed_at_the_fourth)
        with pytest.raises(KilledError):
            stage.detect(params)
        assert len(taken) == 4
    taken.clear()
    with monkeypatch.context() as patch:
        patch.setattr(train, "_step", lambda *arguments: taken.append(step(*arguments)) or taken[-1])
        stage.detect(params)
    assert len(taken) == 2, "it continues from the last checkpoint"
    assert same(weights(), whole)
    assert [row["loss"] for row in rows()] == [row["loss"] for row in course]
    stage.detect(small(1, tasks=["masks"]))
    assert not same(weights(), whole)


def test_what_was_learned_survives_a_kill_while_it_is_judged(workspace, monkeypatch):
    stage.detect(small())
    whole = weights()

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(stage, "find", killed)
        with pytest.raises(KilledError):
            stage.detect(small())
    assert list(CHECKPOINTS.glob("*/checkpoint.safetensors"))
    (DETECTION / stage.WEIGHTS_FILE).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(train, "_step", killed)
        stage.detect(small())
    assert same(weights(), whole), "a second run of the same seed learned the same, and was not run again"


def test_it_starts_from_the_encoder_and_changes_what_may_learn(workspace):
    encoder, _ = load_encoder(PRETRAIN)
    stem, last = encoder.stem[0].weight, encoder.levels[3][2].conv3.weight
    stage.detect(small(iterations=1, lr=1e-12, weight_decay=0.0))
    names = "backbone.body.stem.0.weight", "backbone.body.level4.2.conv3.weight"
    for name, pretrained in zip(names, (stem, last), strict=True):
        torch.testing.assert_close(weights()[name], pretrained)
    stage.detect(small(trainable_levels=1))
    assert torch.equal(weights()[names[0]], stem)
    assert not torch.allclose(weights()[names[1]], last)
    before = weights()
    write_encoder(seed=5)
    stage.detect(small(trainable_levels=1))
    assert not torch.allclose(weights()[names[0]], stem), "another encoder, other weights"
    assert not same(weights(), before)


def test_it_learns_to_find_digits_and_their_shapes(workspace):
    params = small(
        tasks=["masks"], test=["VOC2007/trainval"], iterations=90, batch_size=4, lr=0.05, warmup_iterations=10
    )
    before = stage.detect(small(tasks=["masks"], test=["VOC2007/trainval"], iterations=1, lr=1e-6))
    metrics = stage.detect(params)
    course = rows()
    print(metrics, [round(row["loss"], 2) for row in course[::10]])
    for name in ("loss", "loss_objectness", "loss_rpn_box_reg", "loss_mask"):
        early, late = (np.mean([row[name] for row in part]) for part in (course[:10], course[-10:]))
        assert late < 0.8 * early, name
    for kind in ("boxes", "masks"):
        assert metrics[kind]["ap50"] > before[kind]["ap50"] + 0.1, kind
        assert 0 <= metrics[kind]["ap75"] <= metrics[kind]["ap50"] <= 1
    assert course[-1]["loss"] == pytest.approx(metrics["loss"], abs=1e-6)
    for row in course:
        parts = [value for name, value in row.items() if name.startswith("loss_")]
        assert sum(parts) == pytest.approx(row["loss"], rel=1e-5)
    assert (metrics["images"], metrics["train_images"], metrics["classes"]) == (8, 8, 3)


def test_coco_goes_the_same_way_in_bfloat16(workspace):
    write_coco(workspace, "train2017", scenes(4), crowd={(0, 0)})
    write_coco(workspace, "val2017", scenes(2, seed=1))
    chosen = {"layout": "coco", "train": ["train2017"], "test": ["val2017"], "tasks": ["masks"]}
    metrics = stage.detect(small(precision="bf16", **chosen))
    assert {"boxes", "masks"} <= metrics.keys()
    full = stage.detect(small(precision="fp32", **chosen))
    assert metrics["loss"] != full["loss"]
    assert metrics["loss"] == pytest.approx(full["loss"], rel=0.2)
    assert (DETECTION / "examples.png").stat().st_size > 10_000


def test_every_image_comes_once_in_a_pass_in_a_new_order(workspace):
    data = read_voc(workspace, ["VOC2007/trainval"], masks=False)
    taken = [image.path.name for step in range(8) for image in train.batch_of(data, step, 2, seed=3)]
    passes = taken[:8], taken[8:]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(image.path.name for image in data.images)
    assert passes[0] != passes[1]


def test_a_mirrored_sample_is_mirrored_whole(workspace):
    image = read_voc(workspace, ["VOC2007/trainval"], masks=True).images[0]
    pixels, target = train.load_sample(image, mirrored=False)
    mirrored, other = train.load_sample(image, mirrored=True)
    assert torch.equal(mirrored, pixels.flip(2))
    assert pixels.max() <= 1
    for box, mask in zip(other["boxes"].int().tolist(), other["masks"], strict=True):
        columns, lines = mask.any(0).nonzero().flatten(), mask.any(1).nonzero().flatten()
        covered = [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]
        assert box == [int(value) for value in covered]
    assert torch.equal(other["masks"], target["masks"].flip(2))


def test_the_rate_warms_up_and_falls_tenfold():
    chosen = small(iterations=100, warmup_iterations=3, decay_at=[0.5, 0.75], lr=0.4).detection
    rates = [train.learning_rate(step, chosen) for step in range(100)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert set(np.round(rates[3:50], 9)) == {0.4}
    assert set(np.round(rates[50:75], 9)) == {0.04}
    assert set(np.round(rates[75:], 9)) == {0.004}


def test_what_judges_alone_does_not_train_again(monkeypatch):
    class Data:
        classes, images = ("a",), ()

    def mark(**changes):
        return train.fingerprint(small(**changes), Data, "ab")

    assert mark() == mark(score_threshold=0.5, max_detections=3, test=["VOC2012/val"])
    assert (
        len({mark(), mark(lr=0.5), mark(iterations=7), mark(batch_norm="frozen"), mark(tasks=["masks"])}) == 5
    )
    assert mark() != train.fingerprint(small(), Data, "cd")
    before = mark()
    monkeypatch.setattr(train, "ROOMS", train.ROOMS[:-1])
    assert mark() != before


@pytest.mark.parametrize("masks", [False, True])
def test_other_annotations_are_another_run(workspace, masks):
    def mark():
        return train.fingerprint(small(), read_voc(workspace, ["VOC2007/trainval"], masks=masks), "ab")

    before = mark()
    assert mark() == before
    if masks:
        write_voc(workspace, "trainval", [(picture, things[::-1]) for picture, things in scenes(8)])
    else:
        write_voc(workspace, "trainval", scenes(8), difficult={(0, 0)})
    assert mark() != before


def test_divergence_stops_the_run_and_keeps_the_last_result(workspace):
    stage.detect(small())
    before = weights()
    with pytest.raises(InfoCLError, match=r"stopped being finite by step \d+.*Lower detection\.lr"):
        stage.detect(small(lr=100.0, iterations=30, warmup_iterations=0, batch_norm="frozen"))
    assert same(weights(), before)


def test_raw_data_may_lie_elsewhere(workspace, monkeypatch):
    with pytest.raises(UserError, match=r"VOC2007/ImageSets/Main/trainval\.txt is missing; bring"):
        stage.read_splits(small(root="nowhere").detection)
    monkeypatch.setenv("INFOCL_DATA", str(workspace))
    write_voc(workspace, "trainval", scenes(8), difficult={(3, 0), (3, 1)})
    learned, judged = stage.read_splits(small(root="nowhere").detection)
    assert (len(learned.images), len(judged.images)) == (7, 3), "one shows nothing to learn from"


def test_without_an_encoder_it_says_which_stage_makes_one(workspace):
    (PRETRAIN / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing; make it again: rm -rf models/pretrain"):
        stage.detect(small())


def test_a_broken_image_stops_the_run_and_keeps_the_last_result(workspace):
    stage.detect(small())
    before = weights()
    broken = workspace / "VOCdevkit/VOC2007/JPEGImages/000003.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"000003\.jpg cannot be read as an image"):
        stage.detect(small(1))
    assert same(weights(), before)
