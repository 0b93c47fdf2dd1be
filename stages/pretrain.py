"""Stage pretrain: an encoder from the prepared source images."""

from infocl.pretrain import pretrain
from infocl.stage import run_stage

if __name__ == "__main__":
    run_stage("pretrain", pretrain)
