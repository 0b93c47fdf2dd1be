"""A model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

from infocl.deploy.exported import Export
from infocl.deploy.session import read_model
from infocl.deploy.trust import open_trusted
from infocl.results.card import Shipped
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder, write_text

NAME = "encoder"
# Requests for images of one size are put together; the first dimension is left out, as Triton wants it.
CONFIG = """# {file} of an InfoCL export, SHA-256 {sha256}
name: "{name}"
platform: "onnxruntime_onnx"
max_batch_size: {batch}
input [ {{ name: "{input}" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {dim} ] }} ]
dynamic_batching {{ }}
parameters {{ key: "encoder_sha256" value {{ string_value: "{sha256}" }} }}
"""
LARGEST_BATCH = 64


def write_repository(folder: Path, repository: Path, variant: str, signers: Path | None) -> None:
    """Write a variant as the model `encoder`, version 1, of a Triton model repository.

    The arguments are those of `infocl triton`; the folder `encoder` of the repository must hold nothing else.

    Raises:
        UserError: the folder cannot be used, or the repository holds another model of that name.
    """
    export = open_trusted(folder, variant, signers)
    file = export.variant(variant)
    model = repository / NAME
    if model.exists() and not (model / "config.pbtxt").is_file():
        raise UserError(f"{model} is there and is no Triton model; move it away or name another repository")
    with replacing_folder(model) as temporary:
        write_text(temporary / "config.pbtxt", _config(export, file))
        target = temporary / "1" / "model.onnx"
        target.parent.mkdir()
        target.write_bytes(read_model(folder / file.file, file))
    print(f"Wrote {model}; serve it with tritonserver --model-repository={repository.resolve()}")


def _config(export: Export, file: Shipped) -> str:
    return CONFIG.format(
        name=NAME,
        file=file.file,
        sha256=file.sha256,
        batch=LARGEST_BATCH,
        input=file.input.name,
        output=export.card.output.name,
        dim=export.card.dim,
    )
