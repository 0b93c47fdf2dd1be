"""The side in px that each data set's images are prepared at, unless `data.image_size` names another."""

from __future__ import annotations

from infocl.data.embedded import SOURCES

# Near the images' own size, or what they are usually trained at.
OWN_SIZE: dict[str, int] = {
    **dict.fromkeys(
        (*SOURCES, "cifar10", "cifar100", "fashionmnist", "mnist", "svhn", "gtsrb", "emoji", "folder"), 32
    ),
    **dict.fromkeys(("stl10", "eurosat"), 64),
    **dict.fromkeys(("imagenet", "dtd", "cub200", "flowers102", "aircraft", "pets", "food101"), 224),
}
