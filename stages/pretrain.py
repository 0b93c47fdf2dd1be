"""Stage pretrain: an encoder from the prepared source images."""

from functools import partial

from infocl.params_watch import require_unchanged
from infocl.pretrain import pretrain
from infocl.stage import run_stage

if __name__ == "__main__":
    run_stage("pretrain", lambda params: pretrain(params, partial(require_unchanged, params)))
