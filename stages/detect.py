"""Stage detect, optional: the encoder fine-tuned to find objects, judged by average precision."""

from __future__ import annotations

from infocl.detection.run import detect
from infocl.stage import run_stage

if __name__ == "__main__":
    run_stage("detection", detect)
