"""Stage export: the encoder as ONNX, with its card, its proof and its checksums."""

from __future__ import annotations

from infocl.export import export_encoder
from infocl.stage import run_stage

if __name__ == "__main__":
    run_stage("export", export_encoder)
