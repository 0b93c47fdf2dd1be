"""The same encoder without regulariser, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infocl.config import Params
from infocl.pretrain.training import pretrain
from infocl.runtime.files import replacing_folder, write_json
from infocl.runtime.paths import NOT_TRAINED, PLAIN


def pretrain_plain(params: Params, confirm: Callable[[], object] = lambda: None) -> dict[str, Any] | None:
    """Train as `pretrain` does, with `reg.name: none`, and write `models/plain/`.

    The weight is set to zero as well: it would tell nothing, but would make another run's checkpoint of
    what is the same run, since the stage does not depend on it.

    Where `compare.plain` is off, the folder holds one file that says so.

    Args:
        params: validated.
        confirm: as in `pretrain`.

    Returns:
        The metrics of the stage; None in a process that is not the one to report them.
    """
    if not params.compare.plain:
        with replacing_folder(PLAIN) as folder:
            write_json(folder / NOT_TRAINED, {"reason": "compare.plain is false"})
        return {"trained": False}
    reg = params.reg.model_copy(update={"name": "none", "weight": 0.0})
    return pretrain(params.model_copy(update={"reg": reg}), confirm, PLAIN)
