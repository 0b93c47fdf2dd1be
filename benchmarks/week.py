"""`python -m benchmarks.week`: a week of a served workspace in minutes, by the commands that people type.

Real are the Prefect server, the git remote, the DVC remote, schedules, workers, kills; what trains is stood
in for by stages that take a moment, and by encoders that were exported beforehand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.publish import about, publish, table
from pipelines.registry import read_registry, tags_here
from pipelines.remote import tags_there
from tests.pipelines import faults
from tests.pipelines.exports import write_export
from tests.pipelines.quick import ASIDE, QuickProject

NIGHTS = "*/2 * * * *"  # two minutes for a day
BY_ORIGIN = ("--track", "origin/main", "--git-remote", "origin")
Play = Callable[["Week"], str]
EVENTS = list[tuple[str, str, str, tuple[str, ...], Play]]()
ENCODERS = {"2": 415, "3": 425, "4": 418, "5": 422, "6": 424}  # right answers of 449, by reg.weight


def event(day: str, did: str, version: str, *words: str) -> Callable[[Play], Play]:
    """Something to play; after it the version must be in service, and the words be among what was seen."""

    def add(play: Play) -> Play:
        EVENTS.append((day, did, version, words, play))
        return play

    return add


class Week:
    """The workspace `ops`, served; the clone of Ana; the git remote `origin` and the DVC remote `store`."""

    def __init__(self, folder: Path) -> None:
        self.prefect = faults.Prefect(folder / "prefect")
        self.quick = QuickProject(folder / "ops", without=(*ASIDE, "prepare", "probe"))
        for weight, right in ENCODERS.items():
            write_export(folder / "encoders" / weight, weights=float(weight), digits=(right, 449))
        self.ops = faults.Serviced(self.quick.folder, self.prefect)
        self.ops.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
        self.quick.commit("a DVC remote")
        git = self.quick.git
        git("branch", "--move", "main")
        git("init", "--quiet", "--bare", "--initial-branch", "main", str(folder / "origin.git"))
        git("remote", "add", "origin", str(folder / "origin.git"))
        git("push", "--quiet", "origin", "main")
        self.prefect.start()
        self.ops.run("infocl", "retrain", "--git-remote", "origin")
        git("clone", "--quiet", str(folder / "origin.git"), str(folder / "ana"))
        self.ana = faults.Serviced(folder / "ana", self.prefect)
        for key, value in (("name", "Ana"), ("email", "ana@example.org")):
            self.ana.project.git("config", f"user.{key}", value)
        self.serving: list[faults.Program] = []
        self.go = folder / "go"

    def serve(self, *options: str) -> None:
        self.stop()
        self.serving.append(self.ops.serve(*BY_ORIGIN, *options))

    def stop(self) -> None:
        while self.serving:
            self.serving.pop().stop()

    def close(self) -> None:
        self.stop()
        if self.prefect.program is not None:
            self.prefect.kill()

    def ana_pushes(self, key: str, value: object) -> None:
        """A colleague changes params.yaml in her clone and pushes the commit."""
        self.ana.project.git("pull", "--quiet", "--no-rebase", "origin", "main")
        self.ana.project.change(key, value)
        self.ana.project.git("commit", "--quiet", "--all", "-m", f"{key} {value}")
        self.ana.project.git("push", "--quiet", "origin", "main")

    def asleep(self, stage: str) -> None:
        faults.until(lambda: not (self.quick.faults / stage).exists(), self.log)

    def hold(self, stage: str) -> None:
        self.go.unlink(missing_ok=True)
        self.quick.fault(stage, f"until {self.go}")

    def run(self, words: str) -> str:
        """Wait for a run that ended with these words; what the list of runs shows of it."""

        def ended() -> list[dict[str, str]]:
            ends = ("COMPLETED", "FAILED", "CRASHED")
            return [one for one in self.prefect.runs() if one["type"] in ends and words in one["message"]]

        shown = faults.until(ended, lambda: f"no run says {words}: {self.prefect.runs()}\n{self.log()}")[-1]
        starter = next(tag for tag in shown["tags"] if tag in ("schedule", "watch", "person"))
        return f"*{shown['name']}* ({starter}) {shown['type']}: {shown['message']}"

    def log(self) -> str:
        return "\n".join(program.message()[-3000:] for program in self.serving)

    def status(self) -> str:
        """As JSON; empty while a run that a schedule started holds DVC's lock."""
        program = self.ops.start("dvc", "status", "--json")
        return program.message() if program.process.wait() == 0 else ""

    def held(self) -> tuple[str, str, str, str]:
        """In service; the last decision; tags here and on origin; what DVC would do."""
        here, there = tags_here(), tags_there("origin")
        tags = f"{len(here)}, {'the same' if here == there else 'others'} on origin"
        registry, last = read_registry().in_service, self.ops.journal()[-1]
        status = json.loads(faults.until(self.status, "another dvc holds its lock for ever"))
        service = self.ops.in_service()  # verifies the folder
        named = registry.name if registry else "none"
        return (
            service if service == named else f"{service}, but {named} by tags",
            f"{last['decision']} {last.get('version', '')}".strip(),
            tags,
            ", ".join(status) or "nothing to do",
        )


def last_line(message: str) -> str:
    return re.sub(r"^\S+ \| \w+ +\| .*? - ", "", message.strip().splitlines()[-1])


@event("Monday", "A schedule; Ana pushes `reg.weight` 0.5 to main", "v1.1.0", "(schedule)")
def a_night(week: Week) -> str:
    week.serve("--no-watch", "--cron", NIGHTS, "--name", "nightly")
    week.ana_pushes("reg.weight", 0.5)
    return week.run("v1.1.0 is in service in place of v1.0.0")


@event("Tuesday", "The schedule again, and nothing new", "v1.1.0", "(schedule)")
def a_quiet_night(week: Week) -> str:
    return week.run("Nothing changed; v1.1.0 is in service.")


@event("Wednesday", "A watch; `reg.weight` 2 in ops, `seed` 7 while that trains", "v1.2.0", "seed 0 -> 7")
def an_edit_while_training(week: Week) -> str:
    week.serve()
    week.hold("pretrain")
    week.quick.change("reg.weight", 2.0)
    week.asleep("pretrain")
    week.quick.change("seed", 7)
    week.go.touch()
    first = week.run("params.yaml was edited while this")
    second = week.run("v1.2.0 is in service in place of v1.1.0")
    assert "seed: 7" in week.quick.git("show", "encoder@v1.2.0:params.yaml").splitlines()
    return f"{first}<br>{second}"


@event(
    "Thursday",
    "Ana pushes `reg.weight` 3; she retrains by hand, ops by its watch; both publish at once",
    "v1.3.0",
    *("v1.3.0 is in service in place of v1.2.0", "refused the version", "Nothing changed"),
)
def two_promoters(week: Week) -> str:
    """Both train the commit that Ana pushed and are let go at the same moment, before they publish."""
    week.ana_pushes("reg.weight", 3.0)
    week.hold("report")
    by_hand = week.ana.start("infocl", "retrain", "--git-remote", "origin")
    week.asleep("report")
    week.hold("report")
    week.asleep("report")
    week.go.touch()
    code = by_hand.process.wait(faults.DEADLINE)
    other = week.run("origin refused the version" if code == 0 else "v1.3.0 is in service in place of v1.2.0")
    loser = week.ana if code else week.ops
    after = loser.run("infocl", "retrain", *BY_ORIGIN)
    both = f"Ana: {last_line(by_hand.message())}<br>ops: {other}"
    return f"{both}<br>the loser again: {last_line(after)}"


@event("Friday", "`infocl rollback` while `reg.weight` 4 trains", "v1.4.0", "instead of v1.3.0")
def a_rollback_while_training(week: Week) -> str:
    week.hold("pretrain")
    week.quick.change("reg.weight", 4.0)
    week.asleep("pretrain")
    start = time.monotonic()
    said = week.ops.run("infocl", "rollback", "--git-remote", "origin")
    seconds = time.monotonic() - start
    assert week.ops.in_service() == "v1.2.0"
    assert week.ops.stage("pretrain") is not None, "the training goes on"
    week.go.touch()
    then = week.run("v1.4.0 is in service in place of v1.2.0")
    return f"after {seconds:.0f} s: {last_line(said)}<br>{then}"


@event("Friday", "Ana pushes `reg.weight` 0, a worse one, and takes it back", "v1.4.0", "FAILED: The new")
def a_worse_encoder(week: Week) -> str:
    week.ana_pushes("reg.weight", 0.0)
    refused = week.run("The new encoder was refused, v1.4.0 stays in service")
    week.ana_pushes("reg.weight", 4.0)
    return f"{refused}<br>{week.run('v1.4.0 stays in service.')}"


@event("Saturday", "A work pool; the server is killed while `reg.weight` 5 trains", "v1.5.0", "COMPLETED")
def a_killed_server(week: Week) -> str:
    week.stop()
    here = {"INFOCL_WORKSPACE": str(week.ops.folder)}
    week.ops.run("prefect", "work-pool", "create", "--type", "process", "infocl")
    week.ops.run("prefect", "--no-prompt", "deploy", "--all", **here)
    worker = ("prefect", "worker", "start", "--pool", "infocl", "--type", "process")
    week.serving.append(week.ops.start(*worker, **here, PREFECT_WORKER_QUERY_SECONDS="1"))
    week.hold("pretrain")
    week.quick.change("reg.weight", 5.0)
    nightly = ("prefect", "deployment", "run", "retrain/retrain-nightly", "--param", "git_remote=origin")
    week.ops.run(*nightly)
    week.asleep("pretrain")
    week.prefect.kill()
    week.go.touch()
    time.sleep(10)
    week.prefect.start()
    return week.run("v1.5.0 is in service in place of v1.4.0")


@event("Sunday", "`infocl retrain --staging`, then `infocl promote`", "v1.6.0", "v1.6.0 waits in staging")
def an_approval(week: Week) -> str:
    week.stop()
    week.quick.change("reg.weight", 6.0)
    waits = week.ops.run("infocl", "retrain", "--staging", "--git-remote", "origin")
    assert week.ops.in_service() == "v1.5.0"
    return f"{last_line(waits)}<br>{last_line(week.ops.run('infocl', 'promote', '--git-remote', 'origin'))}"


@event("Sunday", "A consumer asks origin; `infocl versions`", "v1.6.0", "the same files", "7 versions")
def a_consumer(week: Week) -> str:
    """Who has only the address of the git remote gets, byte for byte, what ops serves."""
    got = week.go.parent / "got"
    origin = str(week.go.parent / "origin.git")
    week.ops.run("dvc", "artifacts", "get", origin, "encoder", "--stage", "production", "-o", str(got))
    served = week.ops.folder / "exports/service/current"
    same = all((got / file.name).read_bytes() == file.read_bytes() for file in served.iterdir())
    rows = [line.split()[:3] for line in week.ops.run("infocl", "versions").splitlines() if line[:2] == "v1"]
    return f"{'the same' if same else 'OTHER'} files as ops serves; {len(rows)} versions listed"


TITLES = ("day", "what happened", "seen", "s", "in service", "journal", "tags of ops", "DVC", "as it must")


def main() -> None:
    """Play the week and write results/week.md; exit code 1 where something was not as it must be."""
    folder, rows = Path(tempfile.mkdtemp()), list[tuple[object, ...]]()
    facts, week, wells = about("prefect", "dvc", "gto"), Week(folder), 0
    os.chdir(week.ops.folder)
    try:
        for day, did, version, words, play in EVENTS:
            start = time.monotonic()
            saw = play(week).replace("|", "/")
            seconds = time.monotonic() - start
            held = week.held()
            well = held[0] == version and "the same" in held[2] and all(word in saw for word in words)
            rows.append((day, did, saw, f"{seconds:.0f}", *held, "yes" if well else "**no**"))
            wells += well
            publish(
                "week",
                "A week of a served workspace on",
                (f"{wells} of {len(rows)} events ended as they must.", "", *table(TITLES, rows)),
                facts,
            )
    finally:
        week.close()
    shutil.rmtree(folder)
    sys.exit(wells < len(EVENTS))


if __name__ == "__main__":
    main()
