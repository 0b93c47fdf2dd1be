"""From a folder of one's own images to an encoder in service: real stages, DVC, GTO, no Prefect server."""

from __future__ import annotations

import csv
import json
import re

from PIL import Image

from tests.pipelines.faults import LOOSE, Prefect, Serviced
from tests.project import ALL, Project
from tests.workspace import digit_images

MARKS = {"loop": (0, 6, 8, 9), "odd": (1, 3, 5, 7, 9)}
COLUMNS = {"digit": "class", "marks": "labels", "redness": "number"}


def metrics(project, stage):
    return json.loads((project.folder / f"metrics/{stage}.json").read_text())


def test_own_images_with_three_columns_of_answers_and_a_new_image_among_them(tmp_path):
    images, labels = digit_images(112)
    images = [Image.fromarray(image) for image in images]
    rows = [["path", *COLUMNS]]
    for number, (image, label) in enumerate(zip(images[:110], labels, strict=False)):
        path = tmp_path / f"my images/{label % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        marks = ";".join(name for name, digits in MARKS.items() if label in digits)
        red, _, blue = (sum(channel.histogram()[128:]) for channel in image.split())
        rows.append([str(path.relative_to(tmp_path / "my images")), label % 3, marks or "-", red - blue])
    with (tmp_path / "my images/answers.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    own = {"mine": {"csv": "answers.csv", "columns": COLUMNS}}
    project = Project(
        tmp_path / "own",
        data__name="folder",
        data__root=str(tmp_path / "my images"),
        transfer__root=str(tmp_path / "my images"),
        transfer__own=own,
        transfer__targets="auto",
        **LOOSE,
    )
    (tmp_path / "remote").mkdir()
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "remote"))
    project.commit("a DVC remote")
    message = Serviced(project.folder, Prefect(tmp_path / "prefect")).run("infocl", "retrain")
    first = r"infocl: the Prefect server \S+ does not answer; this run is recorded on this machine only\.\n"
    assert re.match(first, message)
    assert set(re.findall(r"Running stage '([^']+)'", message)) == ALL
    assert "v1.0.0 is in service: all 5 checks passed." in message
    assert "exports/encoder is sound" in message
    about = json.loads((project.folder / "exports/service/current/encoder.json").read_text())
    found = metrics(project, "transfer")
    assert about["metrics"]["transfer"]["mine_digit"]["accuracy"] == found["mine_digit"]["accuracy"]
    assert project.git("status", "--porcelain") == ""
    assert project.run("infocl", "retrain") == "Nothing changed; v1.0.0 is in service.\n"
    assert project.repro() == set()
    assert found["mean_accuracy"] == found["mine_digit"]["accuracy"]
    assert {"mean_average_precision"} == found["mine_marks"].keys()
    assert {"r2", "rmse"} == found["mine_redness"].keys()
    shown = f"R² {found['mine_redness']['r2']:.2f}".replace("-", "−")
    for page in ("report/index.html", "exports/encoder/README.md"):
        assert shown in (project.folder / page).read_text()
    assert "R² in hundredths" in project.run("infocl", "summary")
    images[110].save(tmp_path / "my images/0/new.png")
    assert "111 of 111 files, 1 of them decoded now" in project.dvc("repro", "prepare")
    assert {"pretrain", "targets", "export"} <= json.loads(project.dvc("status", "--json")).keys()
    project.change("data.name", "scenes")
    project.dvc("repro", "prepare")
    images[111].save(tmp_path / "my images/1/newer.png")
    project.change("data.name", "folder")
    assert "112 of 112 files, 1 of them decoded now" in project.dvc("repro", "prepare")
