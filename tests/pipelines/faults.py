"""A project with an encoder in service, and the faults that befall it: servers, kills and full disks."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import psutil

from infocl.deploy.verify import verify_folder
from tests.ports import free_port
from tests.project import Project, environment

DEADLINE = 900  # seconds after which something that must happen has not
LOOSE = {  # tiny test sets prove nothing, and a busy machine is slow
    "gate__min_lead": -1.0,
    "gate__max_mean_drop": 1.0,
    "gate__max_task_drop": 1.0,
    "gate__max_latency_ratio": 1000.0,
}
IMPATIENT = (
    "import sys, pipelines.retrain as r, pipelines.command_line as c\n"
    "r.RETRY_SECONDS = (0.5,)\n"
    "c.app(['retrain', *sys.argv[1:]])"
)
WATCHFUL = "import typer, pipelines.watch as w, pipelines.serve as s; w.SECONDS = 1.0; typer.run(s.main)"


def until(holds, what, seconds=DEADLINE):
    """Wait until `holds()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.25)
    return value


class Program:
    """A program that writes into a file and may be killed with all that it started."""

    def __init__(self, command, folder, log, **variables):
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def message(self):
        return self.log.read_text(errors="replace")

    def tree(self):
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self):
        """SIGKILL for this program and everything that it started, whatever session that is in."""
        for process in self.tree():
            kill(process.pid)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class Prefect:
    """A Prefect server that may be down, killed and started again at the same address.

    Args:
        home: its folder.
        records: an empty database to begin with; without it, the server makes one.
    """

    def __init__(self, home, records=None):
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        if records:
            shutil.copy(records, home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.program = None

    def start(self):
        command = ["prefect", "server", "start", "--port", str(self.port), "--no-ui"]
        self.program = Program(command, self.home, self.home / "server.log", **self.variables())
        until(self.answers, self.program.message)

    def answers(self):
        assert self.program.process.poll() is None, self.program.message()
        try:
            return httpx.get(f"{self.url}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def kill(self):
        self.program.kill()

    def variables(self):
        return {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "OMP_NUM_THREADS": "1",
        }

    def runs(self, flow="retrain"):
        """All runs of a flow, oldest first: name, tags, state's type and message."""
        asked = {"sort": "EXPECTED_START_TIME_ASC", "flows": {"name": {"any_": [flow]}}}
        # A server that has just started on a busy machine may take its time.
        rows = httpx.post(f"{self.url}/flow_runs/filter", json=asked, timeout=120).raise_for_status().json()
        return [
            {
                "name": row["name"],
                "tags": row["tags"],
                "type": row["state"]["type"],
                "message": row["state"]["message"] or "",
            }
            for row in rows
            if row["state"]
        ]


class Serviced:
    """A copy of a project whose encoder is in service."""

    def __init__(self, folder, prefect):
        self.folder = folder
        self.prefect = prefect
        self.project = Project.__new__(Project)
        self.project.folder = folder

    def start(self, *command, **variables):
        log = self.prefect.home / f"{self.folder.name}-{time.monotonic_ns()}.log"
        return Program(command, self.folder, log, **self.prefect.variables() | variables)

    def run(self, *command, code=0, **variables):
        """Run a command to its end; what it said."""
        program = self.start(*command, **variables)
        try:
            program.process.wait(DEADLINE)
        finally:
            program.kill()
        message = program.message()
        assert program.process.returncode == code, message
        assert "Traceback" not in message, message
        return message

    def retrain(self, code=0, *options):
        return self.run(sys.executable, "-c", IMPATIENT, *options, code=code)

    def start_retrain(self, url):
        return self.start("infocl", "retrain", PREFECT_API_URL=url)

    def serve(self, *options):
        return self.start(sys.executable, "-c", WATCHFUL, "--report-port", "0", *options)

    def offer(self, commit):
        """Put params and results of a commit in the work tree: a candidate for which nothing has to run."""
        self.project.git("checkout", commit, "--", "params.yaml", "dvc.lock", "metrics")
        self.run("dvc", "checkout", "--quiet")

    def date_tags_ahead(self):
        """As if all tags had been made before this machine's clock was set back by ten years."""
        listed = self.project.git("tag", "--list", "--format=%(refname:short) %(*objectname)")
        for tag, commit in (line.split() for line in listed.splitlines()):
            command = ("git", "tag", "--force", "--annotate", "--message", "a clock ahead", tag, commit)
            self.run(*command, GIT_COMMITTER_DATE="2036-01-01T00:00:00Z")

    def journal(self):
        path = self.folder / "exports/service/journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def promotions(self):
        return [line["version"] for line in self.journal() if line["decision"] == "promoted"]

    def in_service(self):
        """The version in service, whose folder verifies."""
        current = self.folder / "exports/service/current"
        verify_folder(current, None)
        return current.readlink().name

    def mark(self):
        """What a run at work says of itself; None where the last one ended."""
        try:
            mark = json.loads((self.folder / "exports/service/unfinished.json").read_text())
        except FileNotFoundError:
            return None
        return None if mark["ended"] else mark

    def stage(self, name):
        """The process of a stage that runs in this folder."""
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            here = process.info["cwd"] == str(self.folder)
            if here and words[-1:] == [f"stages.{name}"] and words[0].endswith("python"):
                return process
        return None

    def checkpoints(self):
        return list((self.folder / "models/checkpoints").glob("*/checkpoint.safetensors"))

    def weights(self):
        return hashlib.sha256((self.folder / "models/pretrain/encoder.safetensors").read_bytes()).hexdigest()

    def forget(self):
        shutil.rmtree(self.folder)


def copied(base, folder, prefect):
    shutil.copytree(base, folder, symlinks=True)
    return Serviced(folder, prefect)


@contextmanager
def small_disk(folder, megabytes):
    """A file system of its own for `folder`, where the system allows one; else None."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "infocl-test", str(folder)],
        capture_output=True,
        check=False,
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path, leave):
    """Fill the file system that `path` is on, but for `leave` bytes."""
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, free - leave)


def limited(size):
    """For programs started in the block, no file may grow beyond `size` bytes."""

    @contextmanager
    def limit():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit()
