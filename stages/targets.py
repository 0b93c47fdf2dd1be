"""Stage targets: the transfer targets as arrays."""

from infocl.data.prepare import prepare_targets
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("targets", prepare_targets)
