"""Stage export: the encoder as ONNX files, with their card, proof and checksums."""

from __future__ import annotations

from infocl.export.exporter import export_encoder
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("export", export_encoder)
