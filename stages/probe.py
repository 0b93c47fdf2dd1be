"""Stage probe: the encoder's features of the source data set, judged."""

from __future__ import annotations

from infocl.evaluate.evaluation import run_probe
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("probe", run_probe)
