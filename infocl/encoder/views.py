"""Random views of every image in one call: drawn on the CPU, computed on the images' device."""

from __future__ import annotations

from typing import cast

import kornia.augmentation as K
import torch
from torch import Tensor

from infocl.config import ViewParams
from infocl.encoder.augment import apply_plan, plan_views
from infocl.runtime.device import sent


class Views:
    """Random resized crop, horizontal flip, colour jitter, greyscale: the views of SimCLR without blur.

    Kornia draws the parameters and defines what they mean; `apply_plan` does the same to all views of a
    batch in fewer, larger operations. Its `ColorJitter` follows PIL, as torchvision does; the order of the
    four colour operations is drawn for each image, as there. One thing differs from torchvision: crops map
    corner pixel onto corner pixel (`align_corners`), as Kornia's crop by resampling does.

    This is no `nn.Module`, so that nobody moves it to a device: Kornia's generators would move along,
    would draw from the device's own random state, which the seed does not set, and would make the host
    wait for the device nine times in each step.

    Args:
        params: the strengths.
        image_size: side of the square views in px; at least the side of the images, so that crops
            are only ever enlarged and need no antialiasing.
        count: of views of an image.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020, appendix A;
    strengths as in Wang et al., CVPR 2022.
    """

    def __init__(self, params: ViewParams, image_size: int, count: int = 2) -> None:
        self.size, self.count = image_size, count
        self.augment = K.AugmentationSequential(
            K.RandomResizedCrop(
                (image_size, image_size),
                scale=(params.crop_scale[0], params.crop_scale[1]),
                ratio=(params.crop_ratio[0], params.crop_ratio[1]),
                cropping_mode="resample",
            ),
            K.RandomHorizontalFlip(p=params.flip_p),
            K.ColorJitter(
                params.brightness, params.contrast, params.saturation, params.hue, p=params.jitter_p
            ),
            K.RandomGrayscale(p=params.grayscale_p),
            data_keys=["input"],
        )

    def __call__(self, images: Tensor, seed: int, part: int = 0, parts: int = 1) -> tuple[Tensor, ...]:
        """Draw the views and make them; arguments as of `plan`, results as of `make`."""
        return self.make(images, self.plan(images, seed, part, parts))

    def plan(self, images: Tensor, seed: int, part: int = 0, parts: int = 1) -> Tensor:
        """Draw the views of images.

        Args:
            images: uint8 (B, H, W, 3), on any device; only their shape and device count.
            seed: of this batch's draws, which are made on the CPU; the same seed gives the same views on
                every device. The global random state is left as it was.
            part: which part of a larger batch these images are, counted from 0.
            parts: of that batch. Draws are made for all of it, so that an image's views do not depend
                on how many processes share the batch.

        Returns:
            A row for view 1 of each image, then for view 2 if there is one, as `plan_views` describes them,
            on the images' device.
        """
        count, total = len(images), len(images) * parts
        own = torch.arange(part * count, (part + 1) * count)
        rows = torch.cat([view * total + own for view in range(self.count)])
        drawn = self.draw(self.count * total, images.shape[1], images.shape[2], seed)
        return sent(drawn[rows], images.device)

    @torch.no_grad()
    def make(self, images: Tensor, plan: Tensor) -> tuple[Tensor, ...]:
        """The views of a plan.

        Args:
            images: uint8 (B, H, W, 3).
            plan: of `plan`, on their device.

        Returns:
            As many float32 tensors (B, 3, S, S) in [0, 1], in channels-last memory.
        """
        views = apply_plan(images, plan, self.size)
        return views.contiguous(memory_format=torch.channels_last).chunk(self.count)

    def draw(self, count: int, height: int, width: int, seed: int) -> Tensor:
        """What is drawn for `count` views of images of that size, as `plan_views` describes it."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            drawn = self.augment.forward_parameters(torch.Size((count, 3, height, width)))
            order = torch.rand(count, 4).argsort(1)
        crop, flip, jitter, grey = (cast("dict[str, Tensor]", item.data) for item in drawn)
        return plan_views(crop, flip, jitter, grey, order, self.size)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [0, 1], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)
