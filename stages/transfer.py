"""Stage transfer: the encoder judged on every target."""

from __future__ import annotations

from infocl.evaluate.evaluation import run_transfer
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("transfer", run_transfer)
