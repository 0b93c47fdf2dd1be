"""Faster R-CNN and Mask R-CNN with a feature pyramid on one of this project's encoders."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

from infocl.config.detection import DetectionParams
from infocl.encoder.network import Encoder
from infocl.encoder.sizes import STEM_STRIDE

LEVELS = ("level1", "level2", "level3", "level4")
POOLED = 7  # side of the grid that a region is pooled to for the box head (Lin et al. 2017)
ANCHOR_CELLS = 8  # side of an anchor in cells of its level: 32 px at stride 4 (Lin et al. 2017)
RATIOS = (0.5, 1.0, 2.0)  # height / width of anchors


class Pyramid(BackboneWithFPN):  # type: ignore[misc]
    """An encoder's four levels and the feature pyramid on them.

    Args:
        encoder: gives stem and levels, shared, not copied; normalisation is left to the detector.
        params: channels of the pyramid, which levels learn, and how BatchNorm acts.
        half: whether to compute in bfloat16 where autocast does. The maps come out in float32, because
            the coordinates that the heads work out need more digits.
    """

    def __init__(self, encoder: Encoder, params: DetectionParams, *, half: bool) -> None:
        self._reduced = half
        parts = [encoder.stem, *encoder.levels]
        body = nn.Sequential(OrderedDict(zip(("stem", *LEVELS), parts, strict=True)))
        with torch.no_grad():
            channels = [maps.shape[1] for maps in level_maps(encoder.eval(), torch.zeros(1, 3, 64, 64))]
        super().__init__(
            body,
            return_layers={name: str(index) for index, name in enumerate(LEVELS)},
            in_channels_list=channels,
            out_channels=params.fpn_channels,
            norm_layer=nn.BatchNorm2d if params.batch_norm == "tuned" else None,
        )
        still = len(parts) - params.trainable_levels
        for index, part in enumerate(parts):
            part.requires_grad_(index >= still)
            if index < still or params.batch_norm == "frozen":
                freeze_batch_norm(part)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps of the pyramid, float32, of normalised images (B, 3, H, W)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._reduced):
            maps = super().forward(images)
        return OrderedDict((name, value.float()) for name, value in maps.items())


def level_maps(encoder: Encoder, images: Tensor) -> list[Tensor]:
    """The maps of levels 1 to 4 of normalised images (B, 3, H, W), before they are pooled."""
    maps, levels = encoder.stem(images), []
    for level in encoder.levels:
        maps = level(maps)
        levels.append(maps)
    return levels


def freeze_batch_norm(module: nn.Module) -> None:
    """Replace every BatchNorm in `module` by an affine map of its running statistics, which never learns."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen)
        else:
            freeze_batch_norm(child)


def build_detector(
    encoder: Encoder, params: DetectionParams, classes: int, *, half: bool = False
) -> FasterRCNN:
    """A detector whose backbone is `encoder`, with new layers drawn from torch's global generator.

    Images are normalised by the encoder's own statistics. Anchors have eight cells of their level's
    stride, so that an encoder with another stem sees the standard network's geometry at its own scale.
    BatchNorm is tuned in backbone and pyramid, as He et al. 2020 do, or frozen in the backbone, as is
    usual for supervised weights. Widths of the heads follow `fpn_channels`, with 256 as published.

    Args:
        encoder: any of this project's.
        params: the section `detection`.
        classes: without the background.
        half: whether the backbone computes in bfloat16.

    Reference: Ren et al., NeurIPS 2015 (Faster R-CNN); Lin et al., CVPR 2017 (the pyramid); He et al.,
    ICCV 2017 (Mask R-CNN); He et al., CVPR 2020 (MoCo, the protocol).
    """
    channels = params.fpn_channels
    stride = STEM_STRIDE[encoder.params.stem]
    sizes = tuple((ANCHOR_CELLS * stride * 2**level,) for level in range(5))
    hidden = 4 * channels
    parts = {
        "min_size": tuple(params.shorter_sides),
        "max_size": params.longer_side,
        "image_mean": encoder.mean.flatten().tolist(),
        "image_std": encoder.std.flatten().tolist(),
        "rpn_anchor_generator": AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        "box_head": TwoMLPHead(channels * POOLED**2, hidden),
        "box_predictor": FastRCNNPredictor(hidden, classes + 1),
        "box_score_thresh": params.score_threshold,
        "box_detections_per_img": params.max_detections,
        "box_batch_size_per_image": params.rois_per_image,
    }
    backbone = Pyramid(encoder, params, half=half)
    if not params.masks:
        return FasterRCNN(backbone, **parts)
    return MaskRCNN(
        backbone,
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, dilation=1),
        mask_predictor=MaskRCNNPredictor(channels, channels, classes + 1),
        **parts,
    )
