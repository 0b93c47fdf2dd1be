"""`infocl verify`: whether an exported folder is whole, is what it says, and computes what it promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnxruntime

from infocl.deploy.example import read_example, repeat_example
from infocl.deploy.exported import Export
from infocl.deploy.plain import COPY_AGAIN
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.sums import check_signature, check_sums
from infocl.results.card import HINT
from infocl.runtime.errors import UserError
from infocl.runtime.text import counted


def verify_folder(folder: Path, signers: Path | None) -> None:
    """Check a folder and print one line for each check.

    Args:
        folder: the exported one.
        signers: file of allowed signers as in ssh-keygen(1); a signature by one of them is then demanded.

    Raises:
        UserError: the first check that fails, with the file and the fix.
    """
    print(f"sums       {counted(check_sums(folder), 'file')}, all as SHA256SUMS lists them, and no other")
    export = Export(folder)
    promised = export.card.signature is not None
    print(f"signature  {check_signature(folder, signers, promised=promised)}", flush=True)
    _check_no_other_models(export)
    example = read_example(export)
    for encoder in _encoders(export):
        _check_metadata(encoder)
        error, allowed = repeat_example(encoder, example)
        print(
            f"{encoder.path.name}  {encoder.variant}, nothing outside it, metadata as encoder.json; repeats "
            f"{export.card.example.file} within {error:.2g} (allowed {allowed:.2g})",
            flush=True,
        )
    print(f"{folder} is sound (onnxruntime {onnxruntime.__version__}).")


def _encoders(export: Export) -> Iterator[OnnxEncoder]:
    yield OnnxEncoder(export, "float32")
    yield OnnxEncoder(export, "float32", prepared=True)
    for variant in export.shipped:
        if variant != "float32":
            yield OnnxEncoder(export, variant)


def _check_no_other_models(export: Export) -> None:
    described = {file.file for file in (*export.shipped.values(), export.card.float_input)}
    for path in sorted(export.folder.glob("*.onnx")):
        if path.name not in described:
            raise UserError(f"{path} is not described by encoder.json; remove it, or {HINT}")


def _check_metadata(encoder: OnnxEncoder) -> None:
    """The metadata inside an ONNX file are those of `encoder.json`, so that the two belong together."""
    raw = encoder.export.raw
    taken = (raw["float_input"] if encoder.prepared else raw).get("input")
    expected = {**raw, "variant": encoder.variant, "input": taken}
    found = encoder.metadata
    for key in sorted({*found, "weights_sha256"}):
        value = expected.get(key)
        if key not in expected or found.get(key) != (value if isinstance(value, str) else json.dumps(value)):
            raise UserError(
                f"{encoder.path} and encoder.json differ in {key}, so they are of two exports; {COPY_AGAIN}"
            )
