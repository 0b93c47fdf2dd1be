"""A served deployment that a benchmark may change, break and watch."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.pipelines import faults
from tests.project import _output

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Block
body = {"subject": "{{subject}}", "body": "{{body}}"}
Block(name="ops", url=sys.argv[1], method="POST", json_data=body).save("ops", overwrite=True)
"""


class Deployment:
    """An encoder in service, kept up to date by `pipelines.serve` as shipped.

    Args:
        folder: where all of it lies; the project itself may be a mount of its own below it.
    """

    def __init__(self, folder: Path) -> None:
        self.prefect = faults.Prefect(folder / "prefect")
        self.prefect.start()
        faults.build(folder / "built")
        (folder / "disk").mkdir(exist_ok=True)
        self.here = faults.copied(folder / "built/project", folder / "disk/project", self.prefect)
        self.project = self.here.project
        self.remote = folder / "built/remote"
        self.origin = folder / "origin.git"
        _output(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.origin)], folder)
        self.project.git("branch", "-M", "main")
        self.project.git("remote", "add", "origin", str(self.origin))
        self.project.git("push", "--quiet", "--tags", "origin", "main")
        self.heard: list[dict[str, Any]] = []
        self._listen()
        self.servers: list[faults.Program] = []
        self.past: set[str] = set()  # runs of the rows before
        self.logs: list[faults.Program] = []
        self.read: list[int] = []  # characters of each log

    def serve(self) -> None:
        """Start one more `pipelines.serve`."""
        options = ("--track", "origin/main", "--git-remote", "origin", "--notify", "custom-webhook/ops")
        command = (sys.executable, "-m", "pipelines.serve", "--report-port", "0", *options)
        program = self.here.start(*command, PREFECT_RUNNER_POLL_FREQUENCY="10")
        self.servers.append(program)
        self.logs.append(program)

    def kill_servers(self) -> None:
        for program in self.servers:
            program.kill()
        self.servers = []

    def runs(self) -> list[dict[str, Any]]:
        """All runs that are not of rows before, oldest first."""
        asked = {"sort": "EXPECTED_START_TIME_ASC", "flows": {"name": {"any_": ["retrain"]}}}
        rows = httpx.post(f"{self.prefect.url}/flow_runs/filter", json=asked, timeout=60).json()
        return [row for row in rows if row["id"] not in self.past and row["state"]]

    def settled(self, least: int) -> list[dict[str, Any]]:
        """Wait until so many new runs ended and none is at work; these runs."""
        deadline = time.monotonic() + 900
        while True:
            try:
                runs = self.runs()
            except (httpx.HTTPError, ValueError):
                runs = []
            ended = [run for run in runs if run["state"]["type"] in ENDED]
            lost = [run for run in runs if run["state"]["type"] == "RUNNING" and self.here.mark() is None]
            if len(ended) >= least and len(ended) + len(lost) == len(runs):
                self.past |= {run["id"] for run in runs}
                return ended
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join(program.message()[-3000:] for program in self.logs))
            time.sleep(0.5)

    def left_alone(self) -> list[dict[str, Any]]:
        """Wait until a watch says that there is nothing to do; the runs that were started nevertheless."""
        faults.until(lambda: "no stage has anything to do" in self._unread(), self._unread)
        runs = self.runs()
        self.past |= {run["id"] for run in runs}
        return runs

    def new_lines(self) -> str:
        """What those that serve said since this was asked last."""
        new = self._unread()
        self.read = [len(program.message()) for program in self.logs]
        return new

    def _unread(self) -> str:
        read = [*self.read, *[0] * (len(self.logs) - len(self.read))]
        return "".join(program.message()[start:] for program, start in zip(self.logs, read, strict=True))

    def colleague(self, key: str, value: str) -> None:
        """Another clone commits a change of params.yaml and pushes it."""
        clone = self.origin.parent / "colleague"
        shutil.rmtree(clone, ignore_errors=True)
        _output(["git", "clone", "--quiet", str(self.origin), str(clone)], self.origin.parent)
        path = clone / "params.yaml"
        text, count = re.subn(rf"(?m)^(\s*{key}:) \S+", rf"\1 {value}", path.read_text(), count=1)
        assert count == 1
        path.write_text(text)
        author = ("-c", "user.name=A Colleague", "-c", "user.email=colleague@example.org")
        _output(["git", *author, "commit", "--quiet", "--all", "-m", f"{key} {value}"], clone)
        _output(["git", "push", "--quiet", "origin", "main"], clone)

    def _listen(self) -> None:
        heard = self.heard

        class Listener(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        listener = HTTPServer(("127.0.0.1", 0), Listener)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        self.here.run(sys.executable, "-c", BLOCK, f"http://127.0.0.1:{listener.server_port}/")


def started_after(run: dict[str, Any], moment: float) -> float | None:
    """Seconds from a moment to the start of a run."""
    if not run["start_time"]:
        return None
    start = datetime.datetime.fromisoformat(run["start_time"].replace("Z", "+00:00"))
    return start.timestamp() - moment
