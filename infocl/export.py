"""Stage export: the encoder as an ONNX file that was compared with torch, and what goes with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from infocl import __version__
from infocl.config import ExportParams, Params
from infocl.data.prepared import Prepared, load_prepared
from infocl.encoders import Encoder, load_encoder
from infocl.errors import InfoCLError, UserError
from infocl.evaluate.run import check_source_data
from infocl.files import replacing_folder, sha256_file, write_json, write_text
from infocl.layout import EXPORT, PREPARED, PRETRAIN
from infocl.model_card import render_card
from infocl.parity import INPUT, OUTPUT, Parity, measure_parity
from infocl.results import ABOUT_FILE, ONNX_FILE, read_probe, read_transfer
from infocl.rows import evenly_spread
from infocl.views import to_unit_range

FORMAT = 1
CARD_FILE, SUMS_FILE = "README.md", "SHA256SUMS"
NOT_SHIPPED = ("metadata_props", "doc_string")  # where the exporter leaves stack traces and class paths


def export_encoder(params: Params) -> dict[str, Any]:
    """Write `exports/encoder/`: the ONNX file, `encoder.json`, the model card and the checksums.

    Returns:
        The metrics of the stage.

    Raises:
        UserError: the encoder, the data or the metrics are missing, or do not belong together.
        InfoCLError: onnxruntime is further from torch than `export.max_relative_error`; then
            `exports/encoder/` stays as it was.
    """
    encoder, config = load_encoder(PRETRAIN)
    data = load_prepared(PREPARED / params.data.name)
    check_source_data(data, config)
    if config.get("data") != data.name:
        raise UserError(
            f"{PRETRAIN} was trained on {config.get('data')}, but data.name is {data.name}; "
            "run the pretrain stage again (dvc repro pretrain)"
        )
    results = _results()
    images = parity_images(data, params.export.parity_images)
    model = to_onnx(encoder, data.image_size, params.export.opset)
    parity = measure_parity(encoder, model.SerializeToString(), images)
    _require_parity(parity, params.export)
    about = _describe(encoder, config, data, params.export, parity) | {"metrics": results}
    with replacing_folder(EXPORT) as folder:
        _write_folder(folder, model, about)
        size = (folder / ONNX_FILE).stat().st_size
    said = asdict(parity)
    return {"parity_images": said.pop("images"), **said, "bytes": size, "opset": params.export.opset}


class _FromPixels(nn.Module):
    """uint8 RGB images (N, S, S, 3) to embeddings (N, D): the preprocessing is part of the graph."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.encoder(to_unit_range(image))
        return embedding


def to_onnx(encoder: Encoder, image_size: int, opset: int) -> onnx.ModelProto:
    """The encoder as an ONNX model, input `image` and output `embedding`, with any number of images.

    Args:
        encoder: in evaluation mode, on the CPU.
        image_size: S in px.
        opset: ONNX operator set.
    """
    program = torch.onnx.export(
        _FromPixels(encoder).eval(),
        (torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8),),
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"image": {0: torch.export.Dim("N")}},
        verbose=False,
    )
    if program is None:
        raise InfoCLError(f"torch {torch.__version__} gave no ONNX program")
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    model.producer_name, model.producer_version = "infocl", __version__
    return model


def _strip(message: Any) -> None:
    """Clear what tells of the exporting machine's code, at every depth of a protobuf message."""
    for field, value in message.ListFields():
        if field.name in NOT_SHIPPED:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Iterable) else [value]:
                _strip(part)


def parity_images(data: Prepared, count: int) -> npt.NDArray[np.uint8]:
    """At most `count` images (N, S, S, 3), evenly spread over the test split (train where there is none)."""
    split = data.split("test" if "test" in data.splits else "train")
    return np.asarray(split.images[evenly_spread(len(split), count)])


def _require_parity(parity: Parity, params: ExportParams) -> None:
    if not parity.max_relative_error <= params.max_relative_error:
        raise InfoCLError(
            f"onnxruntime differs from torch by {parity.max_relative_error:.3g} (relative L2 error of an "
            f"embedding), more than export.max_relative_error {params.max_relative_error:g}; nothing was "
            "exported. Raise it only if your use bears that error"
        )


def _results() -> dict[str, Any]:
    probe, transfer = read_probe(), read_transfer()
    return {
        "source": probe.source.model_dump(mode="json") if probe.source else None,
        "mean_transfer_accuracy": transfer.mean_accuracy,
        "mean_transfer_accuracy_ci95": list(transfer.mean_accuracy_ci95),
        "transfer": {name: row.model_dump(mode="json") for name, row in transfer.targets.items()},
        "rankme": probe.rankme,
        "dead_units": probe.dead_units,
    }


def _describe(
    encoder: Encoder, config: Mapping[str, Any], data: Prepared, params: ExportParams, parity: Parity
) -> dict[str, Any]:
    lineage = ("version", "data", "objective", "regularizer", "reg_weight", "epochs", "seed")
    proof = ("params_sha256", "git_revision", "weights_sha256")
    size = data.image_size
    return {
        "format": FORMAT,
        **{key: config.get(key) for key in (*lineage, *proof)},
        "data_sha256": data.meta.get("source_sha256"),
        "data_licence": data.meta.get("licence"),
        "encoder": encoder.params.model_dump(),
        "input": {"name": INPUT, "dtype": "uint8", "shape": ["N", size, size, 3], "channels": "RGB"},
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["N", encoder.dim]},
        "normalized": False,
        "image_size": size,
        "mean": config["mean"],
        "std": config["std"],
        "opset": params.opset,
        "parity": {
            "images": parity.images,
            "max_abs_error": parity.max_abs_error,
            "max_relative_error": parity.max_relative_error,
            "cosine_min": parity.cosine_min,
            "tolerance": params.max_relative_error,
            "compared": f"onnxruntime {onnxruntime.__version__} with torch {torch.__version__}, float32, CPU",
        },
    }


def _write_folder(folder: Path, model: onnx.ModelProto, about: Mapping[str, Any]) -> None:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    onnx.helper.set_model_props(model, texts)
    onnx_file = folder / ONNX_FILE
    onnx_file.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(onnx_file, full_check=True)
    about = {**about, "bytes": onnx_file.stat().st_size, "onnx_sha256": sha256_file(onnx_file)}
    write_json(folder / ABOUT_FILE, about)
    write_text(folder / CARD_FILE, render_card(about))
    sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in (ONNX_FILE, ABOUT_FILE, CARD_FILE))
    write_text(folder / SUMS_FILE, sums)
