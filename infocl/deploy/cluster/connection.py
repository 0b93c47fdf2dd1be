"""Joining a Ray cluster, and having pieces of work done there."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError

from infocl.runtime.errors import UserError, one_line

AHEAD = 4  # pieces of work for each processor that are handed out at a time
RETRIES = 10  # of a piece whose machine or process was lost; more, and the piece itself is what ends them


def connect() -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine; nothing is reported to Ray's makers.

    Raises:
        UserError: there is no cluster at RAY_ADDRESS, or none starts here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what concerns users comes as exceptions
    if ray.is_initialized():
        return
    try:
        with _nothing_on_the_terminal():
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # Ray raises plain Exception where a node does not start
        where = os.environ.get("RAY_ADDRESS")
        hint = (
            "check RAY_ADDRESS and that cluster, and that Python and Ray are the same there"
            if where
            else "run again when this machine is less busy, or start a cluster and name it in RAY_ADDRESS"
        )
        raise UserError(
            f"Ray cannot be reached at {where or 'this machine'} ({one_line(error)}); {hint}"
        ) from None


@contextmanager
def _nothing_on_the_terminal() -> Iterator[None]:
    """Keep from users what Ray's C++ part writes while it starts, such as its own log level."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no Path
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def on_cluster(
    function: Callable[..., Any], work: Iterable[tuple[Any, ...]], processes: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Have pieces of work done anywhere, and again where a machine is lost; number and result of each.

    Args:
        function: its first argument is the piece's number; a result that is a string is an error.
        work: the arguments of each piece.
        processes: at most so many at once; None: as many as there are processors.

    Raises:
        UserError: a piece went wrong, or Ray fails.
    """
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
    most = processes or AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, running = iter(work), dict[Any, int]()
    while True:
        for arguments in islice(waiting, most - len(running)):
            running[remote.remote(*arguments)] = arguments[0]
        if not running:
            return
        try:
            (done,), _ = ray.wait(list(running))
            result = ray.get(done)
        except RayError as error:
            raise UserError(f"Ray gave up ({one_line(error)}); run the same command again") from None
        if isinstance(result, str):
            raise UserError(result)
        yield running.pop(done), result
