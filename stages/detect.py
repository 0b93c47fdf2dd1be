"""Stage detect, optional: the encoder fine-tuned to find objects, judged by average precision."""

from __future__ import annotations

from functools import partial

from infocl.config.watch import require_unchanged
from infocl.detection.detect import detect
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("detection", lambda params: detect(params, partial(require_unchanged, params)))
