"""Data sets and targets that params.yaml may name."""

from __future__ import annotations

from typing import Literal

ArraySet = Literal["cifar10", "cifar100", "stl10", "fashionmnist", "mnist", "svhn"]
PictureSet = Literal["dtd", "cub200", "flowers102", "gtsrb", "aircraft", "eurosat", "pets", "food101"]
DataName = Literal["shapes", "scenes", "emoji", ArraySet, PictureSet, "imagenet", "folder"]
ShapesTarget = Literal["shape", "hue", "brightness", "place"]
ScenesTarget = Literal["scenes_hue", "scenes_position", "scenes_scale", "scenes_tilt", "scenes_scenery"]
EmojiTarget = Literal["emoji", "emoji_tone", "emoji_category"]
TargetName = Literal[ShapesTarget, ScenesTarget, "digits", "photos", EmojiTarget, ArraySet, PictureSet]
