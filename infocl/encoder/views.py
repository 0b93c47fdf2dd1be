"""Two random views of every image in one call: drawn on the CPU, computed on the images' device."""

from __future__ import annotations

import kornia.augmentation as K
import torch
from kornia.augmentation.container.params import ParamItem
from torch import Tensor

from infocl.config import ViewParams

PER_CALL = ("order", "forward_input_shape")  # what Kornia draws once for all images


class Views:
    """Random resized crop, horizontal flip, colour jitter, greyscale: the views of SimCLR without blur.

    Both views of a batch go through Kornia as one batch of 2B. Kornia's `ColorJitter` follows PIL,
    as torchvision does. Two things differ from a per-image torchvision pipeline: the order of the
    four colour operations is drawn once per call rather than once per image, and crops map corner
    pixel onto corner pixel (`align_corners`), because Kornia's half-pixel crop loops over samples.

    This is no `nn.Module`, so that nobody moves it to a device: Kornia's generators would move along,
    would draw from the device's own random state, which the seed does not set, and would make the host
    wait for the device nine times in each step.

    Args:
        params: the strengths.
        image_size: side of the square views in px; at least the side of the images, so that crops
            are only ever enlarged and need no antialiasing.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020, appendix A;
    strengths as in Wang et al., CVPR 2022.
    """

    def __init__(self, params: ViewParams, image_size: int) -> None:
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

    @torch.no_grad()
    def __call__(self, images: Tensor, seed: int, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Draw both views.

        Args:
            images: uint8 (B, H, W, 3), on any device.
            seed: of this batch's draws, which are made on the CPU; the same seed gives the same views on
                every device. The global random state is left as it was.
            part: which part of a larger batch these images are, counted from 0.
            parts: of that batch. Draws are made for all of it, so that an image's views do not depend
                on how many processes share the batch.

        Returns:
            Two float32 tensors (B, 3, S, S) in [0, 1], in channels-last memory.
        """
        batch = to_unit_range(images).repeat(2, 1, 1, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            drawn = self.augment.forward_parameters(torch.Size((len(batch) * parts, *batch.shape[1:])))
            views = self.augment(batch, params=[_own(item, len(images), part, parts) for item in drawn])
        view1, view2 = views.contiguous(memory_format=torch.channels_last).chunk(2)
        return view1, view2


def _own(drawn: ParamItem, count: int, part: int, parts: int) -> ParamItem:
    """Of what was drawn for both views of all images, what belongs to the `count` images of one part."""
    if parts == 1:
        return drawn
    own = torch.arange(part * count, (part + 1) * count)
    rows = torch.cat([own, parts * count + own])
    if not isinstance(drawn.data, dict):
        raise TypeError(f"{drawn.name} draws no tensors of its own")
    kept = {name: value if name in PER_CALL else value[rows] for name, value in drawn.data.items()}
    return ParamItem(drawn.name, kept)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [0, 1], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)
