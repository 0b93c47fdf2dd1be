"""Stage pretrain: an encoder from the prepared source images."""

from functools import partial

from infocl.config.watch import require_unchanged
from infocl.pretrain.training import pretrain
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("pretrain", lambda params: pretrain(params, partial(require_unchanged, params)))
