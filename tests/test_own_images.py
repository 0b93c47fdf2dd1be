"""The pipeline on a folder of the user's own images."""

from __future__ import annotations

import json

from PIL import Image

from tests.project import ALL, Project
from tests.workspace import digit_images


def test_own_images_and_a_new_one_among_them(tmp_path):
    images, labels = digit_images(82)
    for number, (image, label) in enumerate(zip(images[:80], labels[:80], strict=True)):
        path = tmp_path / f"my images/{label % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    project = Project(
        tmp_path / "own",
        data__name="folder",
        data__root=str(tmp_path / "my images"),
        transfer__targets=["digits"],
    )
    assert project.repro() == ALL
    assert project.repro() == set()
    Image.fromarray(images[80]).save(tmp_path / "my images/0/new.png")
    assert "81 of 81 files, 1 of them decoded now" in project.dvc("repro", "prepare")
    assert {"pretrain", "probe", "export"} <= json.loads(project.dvc("status", "--json")).keys()
    project.change("data.name", "scenes")
    project.dvc("repro", "prepare")
    Image.fromarray(images[81]).save(tmp_path / "my images/1/newer.png")
    project.change("data.name", "folder")
    assert "82 of 82 files, 1 of them decoded now" in project.dvc("repro", "prepare")
