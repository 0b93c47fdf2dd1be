"""params.yaml: every mistake is named in one line, never a traceback, never silently accepted."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import get_args

import pytest

from infocl.config import DataName, TargetName
from infocl.config.file import load_params, parse_params, read_yaml
from infocl.data.registry import CATALOG
from infocl.data.sizes import OWN_SIZE
from infocl.encoder.sizes import decoder_start
from infocl.runtime.errors import UserError
from infocl.runtime.mappings import merged

ROOT = Path(__file__).parents[2]
SHIPPED = read_yaml(ROOT / "params.yaml")


def changed(key, value):
    raw = copy.deepcopy(SHIPPED)
    node = raw
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    return raw


def removed(key):
    raw = changed(key, None)
    node = raw
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    del node[last]
    return raw


def leaves(node, prefix=""):
    for key, value in node.items():
        path = f"{prefix}{key}"
        yield path
        if isinstance(value, dict):
            yield from leaves(value, f"{path}.")


KEYS = sorted(leaves(SHIPPED))


def refusal(raw):
    with pytest.raises(UserError) as caught:
        parse_params(raw)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("params.yaml: ")
    return message


def test_the_shipped_file_is_valid_and_complete():
    resolved = {"data": {"image_size": 32}, "transfer": {"targets": ["hue", "brightness", "place", "digits"]}}
    assert load_params(ROOT / "params.yaml").model_dump() == merged(SHIPPED, resolved)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_needed_and_named_when_missing(key):
    assert f"{key} is missing" in refusal(removed(key))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reg.wieght", 1.0, "reg.wieght is not a known parameter; did you mean reg.weight?"),
        ("zebra", {}, "zebra is not a known parameter; remove it"),
        ("reg.name", "lbee", "reg.name is 'lbee'; did you mean lbe?"),
        ("objective.name", "word2vec", "objective.name is 'word2vec'; use one of simclr"),
        ("reg.weight", -0.1, "reg.weight is -0.1, but must be at least 0"),
        ("reg.weight", "much", "reg.weight is 'much', but must be a number"),
        ("reg.weight", float("nan"), "reg.weight is nan, but must be a finite number"),
        ("audit.factors", ["hue", "huee"], "audit.factors.1 is 'huee'; did you mean hue?"),
        ("audit.ranges.scale", [0.5, 1.5], "audit.ranges.scale must be [smallest, largest]"),
        ("compare.untrained", 21, "compare.untrained is 21, but must be at most 20"),
        ("compare.plain", 1, "compare.plain is 1, but must be true or false"),
        ("seed", True, "seed is True, but must be a whole number"),
        ("train.epochs", 1.5, "train.epochs is 1.5, but must be a whole number"),
        ("train.compile", "yes", "train.compile is 'yes', but must be true or false"),
        ("train.device", "gpu", "train.device is 'gpu', but must be auto, cpu, cuda or cuda:N"),
        ("train.batch_size", 7000, "train.batch_size 7000 is larger than the data set"),
        (
            "train.schedule.warmup_epochs",
            1000,
            "train.schedule.warmup_epochs (1000) must not exceed train.epochs",
        ),
        (
            "train.optimizer.trust_coefficient",
            0.0,
            "train.optimizer.trust_coefficient is 0.0, but must be greater than 0",
        ),
        ("train.optimizer.lr", 1000.0, "train.optimizer.lr is 1000.0, but must be at most 100"),
        ("train.optimizer.lr", 2.0, "train.optimizer.lr 2 is too large for adam, which moves every weight"),
        (
            "objective.simclr.temperature",
            1e-30,
            "objective.simclr.temperature is 1e-30, but must be at least 0.01",
        ),
        (
            "objective.vicreg",
            SHIPPED["objective"]["vicreg"] | dict.fromkeys(("invariance", "variance", "covariance"), 0.0),
            "objective.vicreg.invariance, variance and covariance are all 0",
        ),
        ("train.optimizer.name", "larz", "train.optimizer.name is 'larz'; did you mean lars?"),
        ("views.crop_scale", [0.5, 0.1], "views.crop_scale must be [smallest, largest]"),
        ("views.crop_scale", [0.5, 1.5], "views.crop_scale must be [smallest, largest]"),
        ("views.crop_scale", [0.5], "views.crop_scale is [0.5], but must be a list of at least 2 values"),
        ("views.crop_scale", [0.0007, 1.0], "views.crop_scale from 0.0007 makes crops of 0.73 px at"),
        ("views.flip_p", 1.01, "views.flip_p is 1.01, but must be at most 1"),
        ("transfer.targets", ["hue", "hu"], "transfer.targets.1 is 'hu'; did you mean hue?"),
        ("transfer.targets", ["hue", "hue"], "transfer.targets names hue twice"),
        ("transfer.targets", [], "transfer.targets is [], but must be a list of at least 1 values"),
        ("data.root", None, "data.root is None, but must be text"),
        ("export.signing_key", None, "export.signing_key is None, but must be text"),
        ("export.max_relative_error", 1e-5, "export.max_relative_error is 1e-05, but must be a section"),
        ("export.max_relative_error.int8", 0.0, "export.max_relative_error.int8 is 0.0, but must be greater"),
        ("export.max_accuracy_drop", 1.5, "export.max_accuracy_drop is 1.5, but must be at most 1"),
        ("export.calibration_images", 0, "export.calibration_images is 0, but must be at least 1"),
        ("data.root", "", "data.root is '', but must be text that is not empty"),
        ("data.root", "\ud800", r"data.root is '\ud800', but must be text without halves of surrogate pairs"),
        ("data.image_size", 4, "data.image_size is 4, but must be at least 8"),
        ("data.crop", "centre", "data.crop is 'centre'; did you mean center?"),
        ("data.dtd.split", 11, "data.dtd.split is 11, but must be at most 10"),
        ("data.image_size", "automatic", "data.image_size is 'automatic', but must be a whole number"),
        ("data", None, "data is None, but must be a section"),
        ("reg.lbe.level_weights", [0, 0, 0], "reg.lbe.level_weights must have one weight above 0"),
        ("reg.ip.distance", "squared", "reg.ip.distance is 'squared'; did you mean mean_squared?"),
        ("reg.mib.sigma", 0.0, "reg.mib.sigma is 0.0, but must be greater than 0"),
        ("reg.mveb.ridge", 0.0, "reg.mveb.ridge is 0.0, but must be at least 0.001"),
        (
            "reg.augself",
            {"crop": 0.0, "color": 0.0, "flip": 0.0, "hidden": 8},
            "reg.augself needs crop, color or flip above 0",
        ),
        ("objective.simclr.projector_hidden", "wide", "objective.simclr.projector_hidden is 'wide'"),
    ],
)
def test_mistakes_are_named_with_their_hint(key, value, message):
    assert message in refusal(changed(key, value))


def test_the_smallest_crop_has_a_pixel_in_both_directions():
    for ratio, least in (([1.0, 1.0], 1 / 32**2), ([0.1, 1.0], 10 / 32**2), ([1.0, 10.0], 10 / 32**2)):
        raw = changed("views.crop_ratio", ratio)
        raw["views"]["crop_scale"] = [1.01 * least, 1.0]
        parse_params(raw)
        raw["views"]["crop_scale"] = [0.99 * least, 1.0]
        assert "makes crops of" in refusal(raw)


def test_parts_that_do_not_fit_each_other():
    raw = changed("encoder.stem", "imagenet")
    raw["data"]["image_size"] = 16
    assert "data.image_size 16 is too small for encoder.stem imagenet" in refusal(raw)
    raw = changed("reg.name", "rc")
    raw["data"]["image_size"] = 48
    assert "data.image_size 48 cannot be reconstructed" in refusal(raw)
    raw["reg"]["rc"]["decoder"], raw["data"]["image_size"] = "published", 16
    assert "data.image_size 16 has no published decoder; use 32, 64, 224, or reg.rc.decoder light" in refusal(
        raw
    )
    raw = changed("objective.supervised.views", 1)
    raw["objective"]["name"] = "supervised"
    for reg in ("ip", "mib", "mixed"):
        raw["reg"]["name"] = reg
        assert f"objective.supervised.views is 1, but reg.name {reg} compares two" in refusal(raw)


def test_auto_is_the_size_that_suits_the_set():
    message = {"cifar10": 32, "stl10": 64, "imagenet": 224, "fashionmnist": 32, "eurosat": 64, "folder": 32}
    for name, size in message.items():
        raw = changed("data.name", name)
        assert raw["data"]["image_size"] == "auto"
        assert parse_params(raw).data.image_size == size
        raw["data"]["image_size"] = 128
        assert parse_params(raw).data.image_size == 128
    assert set(OWN_SIZE) == set(get_args(DataName))
    assert all(decoder_start(size) for size in OWN_SIZE.values()), "rc, the default, can reconstruct them"
    assert "data.name is 'cifar'; did you mean cifar10?" in refusal(changed("data.name", "cifar"))
    assert "data.name is ['cifar10']; did you mean cifar10?" in refusal(changed("data.name", ["cifar10"]))


def test_several_processes_share_a_batch_and_name_no_single_device():
    assert "train.batch_size (128) must be a multiple of train.devices (3)" in refusal(
        changed("train.devices", 3)
    )
    raw = changed("train.devices", 2)
    raw["train"]["device"] = "cuda:0"
    assert "train.device cuda:0 names one device" in refusal(raw)


def test_every_name_can_be_loaded():
    assert set(CATALOG) == {*get_args(DataName), *get_args(TargetName)}


def test_several_mistakes_are_counted():
    raw = changed("reg.weight", -1)
    raw["seed"] = "x"
    assert "1 more to fix" in refusal(raw)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml is missing; run from the project's root"):
        load_params(tmp_path / "params.yaml")


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("lr: 0.001", "lr: 3e-4")
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml").train.optimizer.lr == 3e-4


def test_decoder_start():
    assert [decoder_start(size) for size in (8, 28, 32, 64, 224, 48, 4, 96)] == [
        4,
        7,
        4,
        4,
        7,
        None,
        None,
        None,
    ]
