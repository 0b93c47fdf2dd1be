"""Small real inputs for tests: params, prepared folders by the on-disk contract."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from infocl.config.file import parse_params, read_yaml
from infocl.prepared.reader import FORMAT
from infocl.runtime.files import sha256_array, write_array, write_json

ROOT = Path(__file__).parent.parent
SHIPPED = read_yaml(ROOT / "params.yaml")

TINY = {
    "reg.name": "lbe",
    "data.name": "scenes",
    **{f"data.{name}.train_images": 96 for name in ("shapes", "scenes")},
    **{f"data.{name}.test_images": 48 for name in ("shapes", "scenes")},
    "encoder.stem": "stl",
    "encoder.width": 0.125,
    "train.epochs": 2,
    "train.batch_size": 32,
    "train.schedule.warmup_epochs": 0,
    "probe.l2": [0.001, 0.1],
    "probe.max_iterations": 20,
    "probe.label_efficiency": {"per_class": [1, 2], "shares": [0.1], "draws": 2},
    "compare.untrained": 1,
    "audit.images": 48,
    "audit.decoder_steps": 2,
    "export.drift_images": 30,
    "export.parity_images": 16,
}


def raw_params(**changes):
    """The shipped params.yaml as a mapping, shrunk, with changes such as `reg__name="rc"`."""
    raw = copy.deepcopy(SHIPPED)
    for key, value in (TINY | {name.replace("__", "."): v for name, v in changes.items()}).items():
        *parents, last = key.split(".")
        node = raw
        for parent in parents:
            node = node[parent]
        node[last] = value
    return raw


def tiny_params(**changes):
    """Validated params of a run that takes seconds."""
    return parse_params(raw_params(**changes))


read_digits = functools.cache(load_digits)  # from a text file, which takes longer than all else here


def digit_images(count, size=32, offset=0):
    """Real handwritten digits (uint8, N x size x size x 3), each in a colour of its own, and labels."""
    digits = read_digits()
    chosen = np.arange(offset, offset + count)
    small = digits.images[chosen] / 16
    large = np.kron(small, np.ones((size // 8, size // 8)))
    tint = np.random.default_rng(offset).uniform(0.3, 1, (count, 1, 1, 3))
    return np.round(255 * large[..., None] * tint).astype(np.uint8), digits.target[chosen].astype(np.int64)


def write_prepared(folder, *, name="scenes", train=96, test=48, size=32, labelled=True):
    """A prepared data set of ten classes as stage prepare writes it."""
    splits = {"train": digit_images(train, size), "test": digit_images(test, size, train)}
    classes = [str(digit) for digit in range(10)]
    write_set(folder, splits, name=name, classes=classes if labelled else None, mean=[0.2] * 3, std=[0.3] * 3)
    return folder


def write_set(folder, splits, *, name, classes, **about):
    """Write arrays and meta.json of `splits`, (images, labels) by name, unlabelled without `classes`."""
    described = {}
    for split, (images, labels) in splits.items():
        write_array(folder / split / "images.npy", images)
        if classes:
            write_array(folder / split / "labels.npy", labels)
        described[split] = {
            "images": len(images),
            "labelled": bool(classes),
            "images_sha256": sha256_array(images),
            "labels_sha256": sha256_array(labels) if classes else None,
        }
    meta = {
        "format": FORMAT,
        "name": name,
        "classes": classes,
        "image_size": splits[next(iter(splits))][0].shape[1],
        "source": "scikit-learn",
        "licence": "BSD-3-Clause",
        "source_sha256": "ab" * 32,
        "splits": described,
        "images_in": None,
        **about,
    }
    write_json(folder / "meta.json", meta)
    return meta
