"""Starts the processes of one machine, watches them, and ends them together."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from infocl.runtime.errors import InfoCLError


def launch(count: int) -> None:
    """Run this program's module again in `count` processes on this machine and wait for them.

    The first speaks here. What the others say goes to files and is shown only when one of them was the
    first to fail. All end when one fails, or when this process is told to.

    Raises:
        SystemExit: with the exit code of the process that failed first, which has said why.
        InfoCLError: a process was ended by a signal.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    with tempfile.TemporaryDirectory(prefix="infocl-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            monitor_interval=0.2,
            logs_specs=DefaultLogsSpecs(log_dir=logs, redirects=dict.fromkeys(range(1, count), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", _module(), *sys.argv[1:])
        except ChildFailedError as error:
            _report(error, Path(logs))
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise InfoCLError("several processes are started from a module: python -m stages.pretrain")
    return spec.name


def _report(error: ChildFailedError, logs: Path) -> None:
    rank, failure = error.get_first_failure()
    if rank:
        for file in sorted(logs.glob(f"**/{rank}/stderr.log")):
            print(file.read_text(errors="replace"), end="", file=sys.stderr, flush=True)
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        raise InfoCLError(
            f"process {rank} was ended by {name}, perhaps for lack of memory; run again to continue from the "
            "last checkpoint"
        ) from None
    raise SystemExit(failure.exitcode) from None
