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
  height = ReduceMin <keepdims = 1> (size)
  width = Identity (height)
  rest = Sub (size, height)
  first = Div (rest, two)
  last = Add (first, height)
  cropped = Slice (image, first, last, height_and_width)""",
    "squash": """
  height = Shape <start = 1, end = 2> (image)
  width = Shape <start = 2, end = 3> (image)
  cropped = Identity (image)""",
}
# The resize is two matrix products, because OpenVINO computes the operator Resize without its `antialias` and
# does not report that. As in torch and Pillow, the weight of input pixel j for output pixel i is a triangle,
# max(0, 1 - |(j + 1/2) - (i + 1/2) scale| / max(scale, 1)) with scale = length / S, divided by the sum for i.
# It is multiplied by 2 S max(scale, 1) here, so that only whole numbers occur before the last division.
# `white` has three numbers, because onnxruntime turns division by a single one into a product, which rounds.
WEIGHTS = """
  {axis}_length = Cast <to = {float}> ({axis})
  {axis}_doubled = Mul ({axis}_length, doubled_side)
  {axis}_end = Squeeze ({axis}_doubled)
  {axis}_inputs = Range (side, {axis}_end, step)
  {axis}_outputs = Mul (odd, {axis}_length)
  {axis}_signed = Sub ({axis}_inputs, {axis}_outputs)
  {axis}_distance = Abs ({axis}_signed)
  {axis}_larger = Max ({axis}_length, side)
  {axis}_reach = Add ({axis}_larger, {axis}_larger)
  {axis}_slope = Sub ({axis}_reach, {axis}_distance)
  {axis}_triangle = Relu ({axis}_slope)
  {axis}_sum = ReduceSum ({axis}_triangle, of_one_output)
  {axis}_weights = Div ({axis}_triangle, {axis}_sum)"""
RESIZE = """
  planes = Transpose <perm = [0, 3, 1, 2]> (cropped)
  levels = Cast <to = {float}> (planes)
  across = Transpose <perm = [1, 0]> (width_weights)
  narrowed = MatMul (levels, across)
  resized = MatMul (height_weights, narrowed)
  unit = Div (resized, white)
"""
NEEDED = (
    "int64[2] two = {{2, 2}}, int64[2] height_and_width = {{1, 2}}, int64[1] of_one_output = {{1}}, "
    "float side = {{{size}}}, float step = {{{step}}}, float[1] doubled_side = {{{step}}}, "
    "float[{size}, 1] odd = {{{odd}}}, float[1, 3, 1, 1] white = {{255, 255, 255}}, "
)
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
        opset: ONNX operator set, at least 18.
        crop: center (the middle square, resized) or squash (all of the image, resized whatever its shape).
        raw: `image` is uint8 (N, H, W, 3) of any height and width; otherwise float32 (N, 3, S, S) in [0, 1].
    """
    text = GRAPH.format(
        ir=onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]),
        opset=opset,
        image="uint8[N, H, W, 3]" if raw else f"float[N, 3, {size}, {size}]",
        size=size,
        needed=_constants(size) if raw else "",
        mean=", ".join(map(repr, mean)),
        std=", ".join(map(repr, std)),
        steps=_square(crop) if raw else FROM_UNIT,
    )
    return onnx.parser.parse_model(text)


def _constants(size: int) -> str:
    odd = ", ".join(str(2 * pixel + 1) for pixel in range(size))
    return NEEDED.format(size=size, step=2 * size, odd=odd)


def _square(crop: Crop) -> str:
    weights = [WEIGHTS.format(axis=axis, float=ONNX_FLOAT) for axis in ("height", "width")]
    return CROPS[crop] + "".join(weights) + RESIZE.format(float=ONNX_FLOAT)


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
