"""From pixels of any size to what the network reads: in ONNX, in torch, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.config import Crop

INPUT, PIXELS = "image", "pixels"
ONNX_FLOAT = int(onnx.TensorProto.FLOAT)

# Cropping comes first, as in the preparation of training images (Pillow's ImageOps.fit). It keeps the aspect
# exactly, and an image of 1 x 20,000 px costs no more memory than the square that is used of it.
CROPS: dict[Crop, str] = {
    "center": """
  size = Shape <start = 1, end = 3> (image)
  side = ReduceMin <keepdims = 1> (size)
  rest = Sub (size, side)
  first = Div (rest, two)
  last = Add (first, side)
  square = Slice (image, first, last, height_and_width)""",
    "squash": """
  square = Identity (image)""",
}
# `exclude_outside` is what torch and Pillow do at the borders; without it they are up to 15 grey levels off.
# All four sizes are given, because onnxruntime 1.32 refuses two sizes with `axes` behind a Transpose.
FROM_SQUARE = """
  planes = Transpose <perm = [0, 3, 1, 2]> (square)
  levels = Cast <to = {float}> (planes)
  count = Shape <start = 0, end = 1> (image)
  shape = Concat <axis = 0> (count, trained)
  resized = Resize <mode = "linear", antialias = 1, coordinate_transformation_mode = "half_pixel",
                    exclude_outside = 1> (levels, , , shape)
  unit = Div (resized, white)
"""
NEEDED = """int64[3] trained = {{3, {size}, {size}}}, float white = {{255}}, """
NEEDED_TO_CROP = "int64[2] two = {2, 2}, int64[2] height_and_width = {1, 2}, "
FROM_UNIT = "  unit = Identity (image)"
GRAPH = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
preprocessing ({image} image) => (float[N, 3, {size}, {size}] pixels)
<{needed}float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] std = {{{std}}}>
{{
{steps}
  centred = Sub (unit, mean)
  pixels = Div (centred, std)
}}
"""


def preprocessing_graph(
    size: int, mean: Sequence[float], std: Sequence[float], opset: int, crop: Crop, *, raw: bool
) -> onnx.ModelProto:
    """The preprocessing as an ONNX model with input `image` and output `pixels` (N, 3, S, S), normalised.

    Args:
        size: S, side in px of the images that the network was trained on.
        mean: of each channel, in [0, 1].
        std: of each channel, above 0.
        opset: ONNX operator set, at least 18, the first with an antialiased Resize.
        crop: center (the middle square, resized) or squash (all of the image, resized whatever its shape).
        raw: `image` is uint8 (N, H, W, 3) of any height and width; otherwise float32 (N, 3, S, S) in [0, 1].
    """
    needed = (NEEDED_TO_CROP if crop == "center" else "") + NEEDED.format(size=size)
    text = GRAPH.format(
        ir=onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]),
        opset=opset,
        image="uint8[N, H, W, 3]" if raw else f"float[N, 3, {size}, {size}]",
        size=size,
        needed=needed if raw else "",
        mean=", ".join(map(repr, mean)),
        std=", ".join(map(repr, std)),
        steps=CROPS[crop] + FROM_SQUARE.format(float=ONNX_FLOAT) if raw else FROM_UNIT,
    )
    return onnx.parser.parse_model(text)


def square_unit_range(images: Tensor, size: int, crop: Crop) -> Tensor:
    """The same in torch, without the normalisation: uint8 (N, H, W, 3) to (N, 3, S, S) in [0, 1]."""
    height, width = images.shape[1:3]
    if crop == "center":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = images[:, top : top + side, left : left + side]
    square = images.permute(0, 3, 1, 2).float()
    resized = F.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized.contiguous(memory_format=torch.channels_last) / 255


def describe_preprocessing(
    size: int, mean: Sequence[float], std: Sequence[float], crop: Crop
) -> list[dict[str, Any]]:
    """The steps in words and numbers, in order."""
    cropping = {
        "step": "crop",
        "words": "the square in the middle, its side the smaller of height and width; "
        "an odd rest is rounded down at the top and on the left",
    }
    of = "the square" if crop == "center" else "the whole image, whatever its shape,"
    return [
        *([cropping] if crop == "center" else []),
        {
            "step": "resize",
            "words": f"antialiased bilinear resize of {of} in float32, half-pixel centres, "
            "as torch's interpolate(mode='bilinear', antialias=True); exactly nothing where it has the size",
            "size": [size, size],
        },
        {"step": "scale", "words": "division by 255", "divisor": 255},
        {
            "step": "normalise",
            "words": "minus the mean, divided by the standard deviation of each channel",
            "mean": list(mean),
            "std": list(std),
        },
    ]
