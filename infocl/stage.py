"""What every stage script shares: validated params, exit codes, and the cost of the run."""

from __future__ import annotations

import errno
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from infocl.config import Params
from infocl.errors import InfoCLError, UserError
from infocl.files import write_json
from infocl.layout import METRICS
from infocl.params_file import load_params


def run_stage(name: str, work: Callable[[Params], Mapping[str, Any] | None]) -> None:
    """Run one stage on the validated params.yaml and write its metrics; exit by the contract.

    `work` returns the stage's metrics, or None where another process writes them; wall time
    (`seconds`) and peak resident memory (`peak_memory_mib`) are added. Exit codes: 0 done, 2 the user's
    input is wrong, 1 anything else.
    """
    start = time.perf_counter()

    def measured() -> None:
        result = work(load_params())
        if result is None:
            return
        metrics = dict(result)
        metrics["seconds"] = round(time.perf_counter() - start, 2)
        metrics["peak_memory_mib"] = round(peak_memory_mib(), 1)
        write_json(METRICS / f"{name}.json", metrics)

    sys.exit(guarded(measured))


def peak_memory_mib() -> float:
    """Peak resident memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024


def guarded(work: Callable[[], object]) -> int:
    """Run `work`; say what went wrong in one line on standard error and return the exit code."""
    try:
        work()
    except InfoCLError as error:
        return _say(error, error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _say(
                f"the disk is full, or a limit on file sizes is reached{_at(error)}; free some space and run "
                "again",
                UserError.exit_code,
            )
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return _say(
                f"writing or reading is not allowed{_at(error)}; mend the folder's permissions",
                UserError.exit_code,
            )
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return _say(
                f"a file lies where a folder must be, or a folder where a file must be{_at(error)}; move it "
                "away",
                UserError.exit_code,
            )
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        return _say("interrupted; run again to continue", 130)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _at(error: OSError) -> str:
    return f" at {error.filename}" if error.filename else ""


def _say(message: object, code: int) -> int:
    print(f"infocl: {message}", file=sys.stderr, flush=True)
    return code
