"""Stage check: the whole of params.yaml, also what no other stage would read now."""

from __future__ import annotations

from infocl.config import Params
from infocl.runtime.files import write_json
from infocl.runtime.paths import CHECKED
from stages.run import run_stage


def check(params: Params) -> None:
    """Look for what a later stage would miss; what is written never changes, so that no stage runs again."""
    if params.detection.tasks:
        from infocl.detection.detect import read_splits  # imports torch

        read_splits(params.detection)
    if params.compare.imported.file:
        from infocl.encoder.imported import describe_imported, read_imported  # likewise

        encoder = read_imported(params.compare.imported)
        print(f"imported: {describe_imported(encoder, params.compare.imported, params.data.image_size)}")
    write_json(CHECKED, {"params": "valid"})


if __name__ == "__main__":
    run_stage("check", check)
