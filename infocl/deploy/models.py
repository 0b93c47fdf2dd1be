"""Whether the ONNX files of a folder are what it says, and compute what its example promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from infocl.deploy.example import read_example, repeat_example
from infocl.deploy.exported import Export
from infocl.deploy.plain import COPY_AGAIN
from infocl.deploy.session import OnnxEncoder
from infocl.runtime.errors import UserError


def check_models(folder: Path, variant: str | None) -> Iterator[str]:
    """Open models and repeat the example with each; one line for each that is sound.

    Args:
        folder: an exported one.
        variant: one that it ships; None for all, and the file for prepared images.

    Raises:
        UserError: the first that is not sound.
    """
    export = Export(folder)
    example = read_example(export)
    for encoder in _encoders(export) if variant is None else [OnnxEncoder(export, variant)]:
        _check_metadata(encoder)
        error, allowed = repeat_example(encoder, example)
        yield (
            f"{encoder.path.name}  {encoder.variant}, nothing outside it, metadata as encoder.json; repeats "
            f"{export.card.example.file} within {error:.2g} (allowed {allowed:.2g})"
        )


def _encoders(export: Export) -> Iterator[OnnxEncoder]:
    yield OnnxEncoder(export, "float32")
    yield OnnxEncoder(export, "float32", prepared=True)
    for variant in export.shipped:
        if variant != "float32":
            yield OnnxEncoder(export, variant)


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
