"""What every stage script shares: validated params, exit codes, and the cost of the run."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from infocl.config import Params
from infocl.config.file import load_params
from infocl.config.watch import require_checked, require_unchanged
from infocl.results.writing import write_results
from infocl.runtime.console import ending_with_its_pipe, open_streams
from infocl.runtime.cost import cost_since
from infocl.runtime.errors import guarded
from infocl.runtime.lock import workspace


def run_stage(name: str, work: Callable[[Params], Mapping[str, Any] | None]) -> NoReturn:
    """Run one stage on the validated params.yaml and write its results; exit by the contract.

    `work` returns what the stage found out, or None where another process writes them; wall time
    (`seconds`) and peak resident memory (`peak_memory_mib`) are added. Exit codes: 0 done, 2 the user's
    input is wrong, 75 it may pass by itself, 1 anything else.
    """
    start = time.perf_counter()
    gc.freeze()  # what was imported stays
    gc.enable()

    def measured() -> None:
        with _workspace_of(name):
            params = load_params()
            if "DVC_STAGE" in os.environ and name != "check":
                require_checked()
            result = work(params)
            require_unchanged(params)
            if result is None:
                return
            write_results(name, {**result, **cost_since(start)})

    open_streams()
    code = guarded(lambda: ending_with_its_pipe(measured))
    gc.unfreeze()
    sys.exit(code)


def _workspace_of(name: str) -> AbstractContextManager[object]:
    """The workspace, held; of several processes of one stage the first holds it for all."""
    return workspace(f"stage {name}") if os.environ.get("RANK", "0") == "0" else nullcontext()
