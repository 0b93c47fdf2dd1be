"""Rows of the week: what a change led to, and the table of them."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.served import Deployment, started_after

Act = Callable[[], object]
NOTHING = "no run"


@dataclass
class Row:
    """What one change led to; `well` where that is what was to be expected and the encoder verifies."""

    change: str
    fault: str
    stages: str
    outcome: str
    in_service: str
    seconds_to_start: float | None
    reported: int
    well: bool
    message: str


class Week:
    """Rows as they come."""

    def __init__(self, deployment: Deployment, out: Callable[[list[Row]], None]) -> None:
        self.on = deployment
        self.here = deployment.here
        self.rows: list[Row] = []
        self.out = out

    def play(
        self,
        change: str,
        act: Act,
        expected: str,
        *,
        fault: str = "",
        during: Act | None = None,
        least: int = 1,
        watched: bool = True,
    ) -> None:
        """Make a change, let the fault happen, and write down what came of it."""
        self.on.new_lines()
        reported, promoted, moment = len(self.on.heard), len(self.here.promotions()), time.time()
        said_by_hand = act()
        try:
            if during is not None:
                during()
            runs = self.on.settled(least) if expected != NOTHING else self.on.left_alone()
        except (TimeoutError, AssertionError) as error:
            runs = []
            print(f"{change}: {error}", flush=True)
        stages = re.findall(r"Running stage '(\w+)'", self.on.new_lines() + str(said_by_hand or ""))
        try:
            version = self.here.in_service()
        except AssertionError as error:
            version = f"does not verify: {error}"
        kinds = [run["state"]["name"] for run in runs]
        decisive = [kind for kind in ("Promoted", "Refused", "Failed") if kind in kinds]
        kind = [*decisive, *reversed(kinds), NOTHING][0]
        once = len(self.here.promotions()) - promoted == (1 if expected == "Promoted" else 0)
        if said_by_hand and "in place of" in str(said_by_hand):
            kind = "Promoted"
        told_run = next((run for run in runs if run["state"]["name"] == kind), runs[-1] if runs else None)
        delays = [started_after(run, moment) for run in runs] if watched else []
        row = Row(
            change,
            fault,
            ", ".join(dict.fromkeys(stages)) or "-",
            kind,
            version,
            min((delay for delay in delays if delay is not None), default=None),
            len(self.on.heard) - reported,
            kind == expected and once and version.startswith("v"),
            told_run["state"]["message"] if told_run else "",
        )
        self.rows.append(row)
        print(f"{len(self.rows):2} {row}", flush=True)
        self.out(self.rows)


def report(rows: list[Row], about: dict[str, object]) -> str:
    faulty = [row for row in rows if row.fault]
    delays = [row.seconds_to_start for row in rows if row.seconds_to_start is not None]
    lines = [
        f"# A week of a served deployment on {about['processor']}",
        "",
        f"{about['date']}, revision {about['revision']}; tiny params; {about['note']}",
        "",
        f"- changes: {len(rows)}, of which {sum(row.well for row in rows)} ended as they must",
        f"- faults survived: {sum(row.well for row in faulty)} of {len(faulty)}",
        f"- from change to start: median {statistics.median(delays):.0f} s, at most {max(delays):.0f} s",
        "- the encoder in service verified after "
        f"{sum(row.in_service.startswith('v') for row in rows)} of {len(rows)} changes",
        "",
        "| | change | fault | stages that ran | outcome | in service | s to start | as it must |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows, 1):
        delay = "" if row.seconds_to_start is None else f"{row.seconds_to_start:.0f}"
        lines.append(
            f"| {number} | {row.change} | {row.fault} | {row.stages} | {row.outcome} | {row.in_service} | "
            f"{delay} | {'yes' if row.well else '**no**'} |"
        )
    return "\n".join(lines) + "\n"
