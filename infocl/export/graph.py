"""The encoder as ONNX graphs: the network from torch, the preprocessing before it, nothing else inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from infocl import __version__
from infocl.config import Crop
from infocl.encoder.network import Encoder
from infocl.export.preprocessing import PIXELS, preprocessing_graph
from infocl.runtime.errors import InfoCLError

OUTPUT = "embedding"
NOT_SHIPPED = ("metadata_props", "doc_string")  # where exporters leave stack traces and class paths


class _Network(nn.Module):
    """Normalised images (N, 3, S, S) to embeddings (N, D)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder.forward_levels(pixels).level4


def network_graph(encoder: Encoder, image_size: int, opset: int) -> onnx.ModelProto:
    """The network alone: input `pixels` (N, 3, S, S), normalised, output `embedding` (N, D), any N.

    Args:
        encoder: in evaluation mode, on the CPU.
        image_size: S in px.
        opset: ONNX operator set.
    """
    program = torch.onnx.export(
        _Network(encoder).eval(),
        (torch.zeros(2, 3, image_size, image_size),),
        dynamo=True,
        opset_version=opset,
        input_names=[PIXELS],
        output_names=[OUTPUT],
        dynamic_shapes={PIXELS: {0: torch.export.Dim("N")}},
        verbose=False,
    )
    if program is None:
        raise InfoCLError(f"torch {torch.__version__} gave no ONNX program")
    model: onnx.ModelProto = program.model_proto
    # The exporter writes a newer version than the operators need, which older runtimes refuse.
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    return model


def with_preprocessing(
    network: onnx.ModelProto, encoder: Encoder, image_size: int, crop: Crop, *, raw: bool = True
) -> onnx.ModelProto:
    """The network behind the preprocessing of `preprocessing_graph`: input `image`, output `embedding`."""
    opset = next(entry.version for entry in network.opset_import if not entry.domain)
    mean, std = encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
    before = preprocessing_graph(image_size, mean, std, opset, crop, raw=raw)
    before.ir_version = network.ir_version
    model = onnx.compose.merge_models(before, network, [(PIXELS, PIXELS)])
    del model.opset_import[:]  # merged, they name the operator set twice
    model.opset_import.extend(network.opset_import)
    _strip(model)
    model.graph.name = "encoder"
    model.producer_name, model.producer_version = "infocl", __version__
    return model


def write_graph(path: Path, model: onnx.ModelProto, about: Mapping[str, Any]) -> None:
    """Write a checked model with `about` as its metadata; the same model gives the same bytes."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    onnx.helper.set_model_props(model, texts)
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)


def _strip(message: Any) -> None:
    """Clear what tells of the exporting machine's code, at every depth of a protobuf message."""
    for field, value in message.ListFields():
        if field.name in NOT_SHIPPED:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Iterable) else [value]:
                _strip(part)
