"""Embedding and sharding by two Ray nodes, one of which is killed: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from infocl.config.file import parse_params
from infocl.data.prepare import prepare_source
from infocl.deploy.table import EmbeddingTable
from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.prepared.shards import INDEX, MANIFEST
from infocl.pretrain.loading.storage import open_images
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.files import read_json
from infocl.runtime.paths import PREPARED
from tests.deploy.test_embed import near, save_examples
from tests.deploy.two_nodes import PATIENCE
from tests.workspace import ROOT, digit_images, raw_params

SECONDS = 900  # after which something that must happen has not
FILES, PART = 400, 2
FILES_TO_SHARD = 900
SIZE = 160  # px of prepared images, so that a shard holds 436 of them


def until(holds, what):
    """Wait until `holds()` is true; its value."""
    end = time.monotonic() + SECONDS
    while not (value := holds()):
        assert time.monotonic() < end, what()
        time.sleep(0.05)
    return value


class Cluster:
    """Two nodes of one CPU each, the second of which can be killed."""

    def __init__(self, process):
        self._process, self._second = process, None
        self.address = ""

    def complete(self):
        """Start the second node, unless it runs."""
        if self._second is None:
            self.address, node = self._process.stdout.readline().split()
            self._second = psutil.Process(int(node))

    def kill_second(self):
        self._say()
        assert self._process.stdout.readline() == "gone\n"
        self._second = None
        self._say()

    def _say(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def second_as(self, name):
        """The process of this name on the second node; None while there is none."""
        for child in self._second.children(recursive=True):
            with suppress(psutil.Error):  # it has ended since
                if f"ray::{name}" in " ".join(child.cmdline()):
                    return child
        return None

    def run(self, log, *arguments):
        """Start an `infocl` command that uses the cluster."""
        environment = os.environ | PATIENCE | {"RAY_ADDRESS": self.address}
        with log.open("a") as stream:
            command = [sys.executable, "-m", "infocl", *arguments]
            return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)


@pytest.fixture(scope="module")
def running():
    # Sockets lie below it, whose paths may have a hundred characters.
    with tempfile.TemporaryDirectory(prefix="ray-") as place:
        command = [sys.executable, "-m", "tests.deploy.two_nodes", place]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
            yield Cluster(process)
            process.stdin.close()
            process.wait()


@pytest.fixture
def cluster(running):
    running.complete()
    return running


def times(output, pattern):
    return {file.name: file.stat().st_mtime_ns for file in output.glob(pattern)}


def test_embedding_outlives_a_killed_command_and_a_killed_node(cluster, folder, tmp_path):
    photos, output, log = tmp_path / "photos", tmp_path / "out", tmp_path / "log"
    examples, expected = list(save_examples(folder, photos).items()), {}
    for number in range(FILES):
        source, embedding = examples[number % len(examples)]
        path = photos / f"copy{number:04}.png"
        os.link(source, path)
        expected[str(path)] = embedding
    (photos / "copy0005b.png").write_bytes(b"no image")
    command = ("embed", photos / "copy*.png", "-o", output, "--encoder", folder, "--engine", "ray")
    command += ("--actors", "2", "--part", str(PART))

    def parts():
        return times(output, "part-*.parquet")

    process = cluster.run(log, *command)
    until(lambda: parts() or process.poll() is not None, log.read_text)
    process.kill()
    process.wait()
    first = parts()
    assert 0 < len(first) < FILES / PART, log.read_text()

    process = cluster.run(log, *command)
    until(
        lambda: (len(parts()) > len(first) and cluster.second_as("write_part")) or process.poll() is not None,
        log.read_text,
    )
    process.send_signal(signal.SIGSTOP)  # so that the rest is handed out after the node is gone
    second = parts()
    cluster.kill_second()
    process.send_signal(signal.SIGCONT)
    assert process.wait(SECONDS) == 0, log.read_text()
    assert len(second) < FILES / PART, "the node was killed after the last part"

    blocks = list(EmbeddingTable(output).blocks())
    assert [path for block in blocks for path in block.paths.to_pylist()] == list(expected)
    found = np.concatenate([block.embeddings for block in blocks])
    for embedding, wanted in zip(found, expected.values(), strict=True):
        near(embedding, wanted)
    done = parts()
    assert {name: done[name] for name in second} == second, "what was there is not made again"
    text = log.read_text()
    assert f"skipped: {photos / 'copy0005b.png'} cannot be read as an image" in text
    assert f"Embedded {FILES} images into {output} (64 numbers each); 1 file skipped." in text
    assert "log level" not in text, "Ray says nothing of its own"


def save_photos(folder):
    """Two classes and images without one, of which one cannot be read and two are the same."""
    images, _ = digit_images(FILES_TO_SHARD)
    for number, image in enumerate(images):
        path = folder / ("cat", "dog", "unlabelled", "unlabelled")[number % 4] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (folder / "cat/broken.png").write_bytes(b"no image")
    shutil.copy(folder / "dog/0001.png", folder / "unlabelled/copy.png")


def write_params(**changes):
    with Path("params.yaml").open("w") as stream:
        YAML().dump(raw := raw_params(**changes), stream)
    return parse_params(raw)


def test_shards_of_a_folder_are_those_of_its_prepared_set(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos")
    params = write_params(
        data__name="folder",
        data__root="photos",
        data__image_size=SIZE,
        data__folder__on_bad="skip",
        train__storage="auto",
        train__shards="shards",
    )
    prepare_source(params)
    PREPARED.rename("whole")
    whole = load_prepared(Path("whole"))
    write_shards(whole, "expected")

    log, decoded = tmp_path / "log", Path("shards/decoded")
    for _ in range(5):
        process = cluster.run(log, "shard", "shards", "--engine", "ray")
        worker = until(
            lambda: cluster.second_as("decode_part") or process.poll() is not None,  # noqa: B023 - called here
            log.read_text,
        )
        if worker is not True:
            break
        assert process.wait(SECONDS) == 0, log.read_text()  # it was done before it was seen
        shutil.rmtree("shards")
    with suppress(psutil.Error):
        worker.suspend()  # in the middle of a part
    until(lambda: times(decoded, "*.json") or process.poll() is not None, log.read_text)
    cluster.kill_second()
    with suppress(psutil.Error):  # Ray has killed it
        worker.kill()
    assert process.wait(SECONDS) == 0, log.read_text()
    count = len(list(Path("expected").glob("*.bin")))
    assert f"shards holds {whole.count('pretrain')} images in {count} shards." in log.read_text()
    assert count > 1
    found = json.loads(Path("metrics/details/prepare.json").read_text())
    assert found["seconds"] > 0 < found["peak_memory_mib"], "the report asks what each stage cost"

    names = [sorted(file.name for file in Path(place).iterdir()) for place in ("shards", "expected")]
    assert names[0] == names[1]
    for file in Path("expected").glob("*.bin"):
        assert (Path("shards") / file.name).read_bytes() == file.read_bytes()
    assert read_json(Path("shards") / MANIFEST, "") == read_json(Path("expected") / MANIFEST, "")
    index, expected = (read_json(Path(name) / INDEX, "") for name in ("shards", "expected"))
    assert (index["chunks"], index["config"]) == (expected["chunks"], expected["config"])
    without = {path.relative_to("whole") for path in Path("whole").rglob("*.*")} - {
        Path("pretrain/images.npy")
    }
    assert {path.relative_to(PREPARED) for path in PREPARED.rglob("*.*")} == without
    for name in without:
        assert (PREPARED / name).read_bytes() == (Path("whole") / name).read_bytes(), name

    cpu = torch.device("cpu")
    images, same = (
        open_images(params, prepared, ALONE, cpu) for prepared in (load_prepared(PREPARED), whole)
    )
    for step in range(3):
        assert images.batch(step)[0].equal(same.batch(step)[0])
    images.close()
    same.close()


def test_what_a_cluster_cannot_prepare_is_refused(refuses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(data__name="shapes")
    assert "--engine ray reads data.name folder, not shapes" in refuses("shard", "out", "--engine", "ray")
    write_params(data__name="folder", data__root="photos")
    assert "leave out --prepared" in refuses("shard", "out", "--engine", "ray", "--prepared", "data")
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    assert "mine holds something other than shards" in refuses("shard", "mine", "--engine", "ray")
    assert Path("mine/letter.txt").read_text() == "dear"
