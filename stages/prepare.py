"""Stage prepare: the source data set as arrays."""

from infocl.data.prepare import prepare_source
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("prepare", prepare_source)
