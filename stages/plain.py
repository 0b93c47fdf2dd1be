"""Stage plain: the same encoder without regulariser, to compare with."""

from functools import partial

from infocl.config.watch import require_unchanged
from infocl.pretrain.plain import pretrain_plain
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("plain", lambda params: pretrain_plain(params, partial(require_unchanged, params)))
