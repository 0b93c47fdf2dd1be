"""Smaller variants of the network: half precision, and eight bits by calibration."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from infocl.encoder.network import Encoder
from infocl.encoder.views import to_unit_range
from infocl.export.preprocessing import PIXELS
from infocl.runtime.errors import UserError
from infocl.runtime.text import file_size

BATCH = 32  # images whose activations are in memory at once
COPIES = 8  # of the network, that quantisation keeps on the disk at once, with room to spare


def half_precision(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with float16 weights and operators; its input and output stay float32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    converted = ONNXModel(convert_float_to_float16(copy, keep_io_types=True))
    converted.topological_sort()  # the casts of input and output come last
    model: onnx.ModelProto = converted.model
    return model


def with_half_rounding(model: bytes) -> bytes | None:
    """The same ONNX file with every float16 value between operators really rounded; None without float16.

    A CPU computes float16 in float32, and onnxruntime drops the casts between two operators there: an
    activation that float16 cannot hold would go unnoticed until an accelerator meets it. Values that are
    outputs of the graph are not dropped, whether they are asked for or not.
    """
    inferred = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
    halves = [
        value
        for value in inferred.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    ]
    if not halves:
        return None
    inferred.graph.output.extend(halves)
    rounded: bytes = inferred.SerializeToString()
    return rounded


def eight_bits(network: onnx.ModelProto, encoder: Encoder, images: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    """The network with int8 weights (one scale per channel) and uint8 activations (one per tensor), as QDQ.

    Weights use 7 of the 8 bits: processors with AVX2 or AVX-512 but without VNNI add pairs of products in
    16 bits, where full weights overflow, so the figures of one machine would not hold on another.
    Activations are unsigned, because onnxruntime computes signed ones several times slower on x86.

    Args:
        network: of `network_graph`.
        encoder: whose normalisation the images go through.
        images: uint8 (N, S, S, 3), of the training split; smallest and largest activations are kept.

    Raises:
        UserError: the folder of temporary files has no room.

    Reference: onnxruntime's guide "Quantize ONNX models", on reduced range.
    """
    with tempfile.TemporaryDirectory(prefix="infocl-") as folder:
        require_room(Path(folder), COPIES * network.ByteSize())
        shaped, quantized = Path(folder) / "shaped.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(network, shaped, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            shaped,
            quantized,
            _Batches(encoder, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,  # the only one that keeps no activations in memory
        )
        return onnx.load(quantized)


def require_room(folder: Path, needed: int) -> None:
    """Refuse to start where a disk would fill up midway, which onnx's own writers do not report.

    Raises:
        UserError: the disk of `folder` has fewer than `needed` bytes free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder.parent} has {file_size(free)} free, but quantisation needs {file_size(needed)} for "
            "temporary files; free some space or set TMPDIR to another folder"
        )


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Normalised calibration images, batch by batch."""

    def __init__(self, encoder: Encoder, images: npt.NDArray[np.uint8]) -> None:
        self._batches = _normalised(encoder, images)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


@torch.inference_mode()
def _normalised(
    encoder: Encoder, images: npt.NDArray[np.uint8]
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.array(images[start : start + BATCH]))
        yield {PIXELS: encoder.normalize(to_unit_range(batch)).contiguous().numpy()}
