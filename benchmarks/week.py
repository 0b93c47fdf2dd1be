"""`python -m benchmarks.week`: a served deployment for a week, in minutes, with the faults of a week."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.run import RESULTS, processor
from benchmarks.served import Deployment
from benchmarks.week_rows import NOTHING, Row, Week, report
from infocl.pretrain.training import git_revision
from infocl.runtime.files import write_text
from tests.pipelines import faults
from tests.workspace import digit_images

SAME = "Nothing changed"  # how a run ends that finds, or makes, the encoder that is in service


def play(week: Week) -> None:
    """Twenty changes, the faults among them."""
    on, here = week.on, week.here
    set_to = here.project.change
    params = here.folder / "params.yaml"

    def append(text: str) -> None:
        params.write_text(params.read_text() + text)

    def floor(least: float) -> None:
        set_to("gate.floors", {"digits": least})

    def correct() -> None:
        here.project.git("checkout", "--", "params.yaml")

    week.play("export.parity_images 8", lambda: set_to("export.parity_images", 8), "Promoted")
    week.play("a comment in params.yaml", lambda: append("# a remark\n"), NOTHING)
    week.play("gate.floors {digits: 0.65}", lambda: floor(0.65), SAME)
    week.play("params.yaml broken (YAML)", lambda: append("oops: [1\n"), "Failed", fault="broken params.yaml")
    week.play(
        "params.yaml corrected, an unknown key",
        lambda: (correct(), append("wieght: 1\n")),
        "Failed",
        fault="unknown key",
    )
    week.play(
        "corrected, reg.weight 0.5",
        lambda: (correct(), set_to("reg.weight", 0.5)),
        "Promoted",
        fault="Prefect server killed in pretraining, started again",
        during=lambda: (wait_for_stage(week, "pretrain"), on.prefect.kill(), on.prefect.start()),
    )
    week.play("a colleague pushes probe.knn_k 10", lambda: on.colleague("knn_k", "10"), "Promoted")
    week.play(
        "a worse encoder (a sixteenth of the width, a stem for large images)",
        lambda: (
            set_to("encoder.width", 0.0625),
            set_to("encoder.stem", "imagenet"),
            set_to("train.epochs", 1),
        ),
        "Refused",
    )
    week.play("taken back with git and DVC", lambda: here.offer("HEAD~1"), NOTHING)
    folder = here.folder / "data/raw"
    week.play(
        "data.name folder, 144 images and a corrupt one, a lower floor",
        lambda: (add_images(folder, 0, 144), broken(folder), floor(0.4), set_to("data.name", "folder")),
        "Failed",
        fault="corrupt image",
    )
    week.play(
        "data.folder.on_bad skip, 30 epochs",
        lambda: (set_to("data.folder.on_bad", "skip"), set_to("train.epochs", 30)),
        "Promoted",
        fault="flow run killed (-9) in pretraining",
        during=lambda: (wait_for_checkpoint(week), faults.kill(here.mark()["pid"])),
        least=2,
    )
    week.play(
        "48 images added",
        lambda: add_images(folder, 144, 192),
        "Promoted",
        fault="restart of the machine in pretraining",
        during=lambda: (wait_for_stage(week, "pretrain"), restart(week)),
    )
    away = on.remote.with_name("away")
    week.play(
        "export.parity_images 10",
        lambda: (on.remote.rename(away), on.remote.write_text(""), set_to("export.parity_images", 10)),
        "Promoted",
        fault="DVC remote away at the push",
        during=lambda: (
            faults.until(lambda: "Retry 1/2" in on.logs[-1].message(), "not tried again", 400),
            on.remote.unlink(),
            away.rename(on.remote),
        ),
    )
    week.play(
        "export.parity_images 12, by hand beside the watch",
        lambda: by_hand(week, ("export.parity_images", 12)),
        "Promoted",
        fault="clock set back by ten years",
        watched=False,
        least=0,
    )
    week.play(
        "export.parity_images 14",
        lambda: (on.serve(), set_to("export.parity_images", 14)),
        "Promoted",
        fault="two schedulers at once",
    )
    filler = here.folder.parent / "filler"
    week.play(
        "train.checkpoint_minutes 7",
        lambda: (
            faults.fill(filler, 60_000),
            params_in_place(week, "checkpoint_minutes: 5", "checkpoint_minutes: 7"),
        ),
        "Failed",
        fault="disk full",
    )
    week.play(
        "space freed, a comment",
        lambda: (filler.unlink(), append("# another remark\n")),
        SAME,
    )
    week.play(
        "export.parity_images 15, while nobody serves",
        lambda: (on.kill_servers(), set_to("export.parity_images", 15), time.sleep(5), on.serve()),
        "Promoted",
        fault="serve killed (-9)",
    )
    week.play(
        "export.parity_images 13, the server away",
        lambda: (on.prefect.kill(), set_to("export.parity_images", 13), time.sleep(30), on.prefect.start()),
        "Promoted",
        fault="Prefect server away for 30 s as the change came",
    )
    week.play("seed 1", lambda: set_to("seed", 1), "Promoted")


def wait_for_stage(week: Week, name: str) -> psutil.Process:
    return faults.until(lambda: week.here.stage(name), f"{name} did not start", 400)


def wait_for_checkpoint(week: Week) -> None:
    wait_for_stage(week, "pretrain")
    before = set(week.here.checkpoints())
    faults.until(lambda: set(week.here.checkpoints()) - before, "no checkpoint", 400)


def restart(week: Week) -> None:
    """All die at once; everything starts anew from what lies on the disk."""
    week.on.kill_servers()
    week.on.prefect.kill()
    (week.here.folder / ".git/index.lock").touch()
    time.sleep(2)
    week.on.prefect.start()
    week.on.past |= {run["id"] for run in week.on.runs()}
    week.on.serve()


def add_images(folder: Path, first: int, last: int) -> None:
    images, labels = digit_images(last - first, offset=first)
    for number, (image, label) in enumerate(zip(images, labels, strict=True), first):
        path = folder / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def broken(folder: Path) -> None:
    (folder / "0/broken.png").write_bytes(b"no image")


def params_in_place(week: Week, old: str, new: str) -> None:
    """Without a temporary file, because the disk is full."""
    path = week.here.folder / "params.yaml"
    text = path.read_text()
    assert old in text
    with path.open("r+") as stream:
        stream.write(text.replace(old, new))


def by_hand(week: Week, change: tuple[str, object]) -> str:
    """A person retrains where a watch does, and all tags so far are of a clock that was ahead."""
    week.here.date_tags_ahead()
    week.here.project.change(*change)
    return week.here.run("infocl", "retrain")


def main() -> None:
    """Play the week and write `results/week.md` and `.json`, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", action="store_true", help="say that other programs ran meanwhile")
    note = "watch and poll every 10 s, as shipped"
    if parser.parse_args().beside:
        note += "; other programs used the same cores meanwhile"
    today = str(datetime.datetime.now(datetime.UTC).date())
    about: dict[str, object] = {"date": today, "processor": processor(), "note": note}
    about["revision"] = git_revision()
    start, results = time.monotonic(), Path.cwd() / RESULTS

    def write(rows: list[Row]) -> None:
        if any(row.seconds_to_start is not None for row in rows):
            write_text(results / "week.md", report(rows, about))
        record = about | {"load": os.getloadavg()[0], "minutes": (time.monotonic() - start) / 60}
        record["rows"] = [asdict(row) for row in rows]
        write_text(results / "week.json", json.dumps(record, indent=2) + "\n")

    folder = Path(tempfile.mkdtemp())
    with faults.small_disk(folder / "disk", megabytes=600) as real:
        if not real:
            print("No file system can be mounted here, so the row of the full disk cannot be played.")
        deployment = Deployment(folder)
        try:
            deployment.serve()
            deployment.settled(1)  # the first look at a tracked branch is a run
            play(Week(deployment, write))
        finally:
            deployment.kill_servers()
            deployment.prefect.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
