"""What float16 does to a network, seen on a machine that computes in float32."""

from __future__ import annotations

import onnx


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
