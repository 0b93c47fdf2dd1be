"""Stage export: the encoder as ONNX files that were compared with torch, and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infocl.config import Crop, Params
from infocl.encoder.files import load_encoder
from infocl.evaluate.evaluation import check_source_data
from infocl.export.build import Bench, Outcome, build_files
from infocl.export.card import describe, describe_parity, describe_signature
from infocl.export.correct import write_correct
from infocl.export.model_card import render_card
from infocl.export.parity import TorchReference, measure_torch
from infocl.export.photographs import rounding_by_size
from infocl.export.sbom import SBOM_FILE, bill_of_materials
from infocl.export.signing import fingerprint, sign
from infocl.export.weights import write_weights
from infocl.prepared.reader import Prepared, load_source
from infocl.results.card import CARD_FILE, CORRECT_ARCHIVE, SUMS_FILE, parse_card
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder, sha256_file, write_json, write_text
from infocl.runtime.paths import EXPORT, PRETRAIN

MODEL_CARD_FILE = "README.md"


def export_encoder(params: Params) -> dict[str, Any]:
    """Write `exports/encoder/`: the ONNX files, the weights, an example, what the probe got right, the cards,
    the checksums.

    float16 and int8 are left out where they break a limit of the block `export`.

    Returns:
        The metrics of the stage.

    Raises:
        UserError: the encoder, the data or the metrics are missing, or do not belong together, or the
            signing key cannot be used.
        InfoCLError: the encoder has collapsed, or float32 breaks a limit. In each case
            `exports/encoder/` stays as it was.
    """
    encoder, config = load_encoder(PRETRAIN)
    data = load_source(params.data, params.train.shards)
    _check_pair(config, data, params.data.crop)
    key = params.export.signing_key
    signature = describe_signature(fingerprint(key) if key else None)
    about = describe(encoder, config, data, params.export)
    yardstick = measure_torch(encoder, data, params)
    with replacing_folder(EXPORT) as folder:
        write_correct(folder)  # first, because it may refuse what it reads
        outcomes, files = build_files(Bench(folder, encoder, data, params.export, yardstick, about))
        about |= {
            "parity": describe_parity(outcomes["float32"].figures, yardstick, params.export),
            "bytes": files["variants"]["float32"]["bytes"],
            "onnx_sha256": files["variants"]["float32"]["sha256"],
            **files,
            "weights": write_weights(folder, encoder),
            "licence": params.export.licence,
            "photographs": rounding_by_size(encoder, data.image_size, data.crop),
            "correct": {"file": CORRECT_ARCHIVE},
            "signature": signature,
        }
        parse_card(about, EXPORT / CARD_FILE)
        write_json(folder / CARD_FILE, about)
        write_text(folder / MODEL_CARD_FILE, render_card(about))
        write_text(folder / SBOM_FILE, bill_of_materials(folder, about["weights_sha256"]))
        _write_sums(folder)
        if key:
            sign(folder / SUMS_FILE, key)
    return _metrics(outcomes, about, yardstick)


def _check_pair(config: Mapping[str, Any], data: Prepared, crop: Crop) -> None:
    check_source_data(data, config, crop)
    if config.get("data") != data.name:
        raise UserError(
            f"{PRETRAIN} was trained on {config.get('data')}, but data.name is {data.name}; "
            "run the pretrain stage again (dvc repro pretrain)"
        )


def _write_sums(folder: Path) -> None:
    sums = "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    write_text(folder / SUMS_FILE, sums)


def _metrics(
    outcomes: Mapping[str, Outcome], about: Mapping[str, Any], yardstick: TorchReference
) -> dict[str, Any]:
    """Only here is speed: the folder is the same whenever it is made."""
    parity, best = about["parity"], outcomes["float32"].figures
    variants = {
        name: {
            key: value
            for key, value in about["variants"][name].items()
            if key not in ("file", "input", "sha256", "reason", "other_sizes_error") and value is not None
        }
        | {"images_per_second": outcome.figures.images_per_second}
        for name, outcome in outcomes.items()
    }
    return {
        "parity_images": parity["images"],
        "max_abs_error": best.max_abs_error,
        "max_relative_error": best.max_relative_error,
        "cosine_min": parity["cosine_min"],
        "onnxruntime_images_per_second": best.images_per_second,
        "torch_images_per_second": yardstick.images_per_second,
        "threads": yardstick.threads,
        "bytes": about["bytes"],
        "opset": about["opset"],
        "variants": variants,
    }
