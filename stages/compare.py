"""Stage compare: plain and regularised encoder side by side, with what needs no training."""

from __future__ import annotations

from infocl.evaluate.compare import run_compare
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("compare", run_compare)
