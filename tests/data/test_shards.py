"""Shards: what is in the files, what is refused, and that nothing in them is ever unpickled."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from infocl.audit.audit import run_audit
from infocl.evaluate.compare import run_compare
from infocl.evaluate.evaluation import run_probe, run_transfer
from infocl.export.exporter import export_encoder
from infocl.prepared import places, sharding, shards
from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.prepared.shards import MANIFEST
from infocl.pretrain import training as stage
from infocl.pretrain.loading import sampler as order
from infocl.pretrain.loading.storage import open_images
from infocl.pretrain.parallel.process_group import ALONE
from infocl.pretrain.plain import pretrain_plain
from infocl.report.build import build_report
from infocl.results.writing import write_results
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_json
from infocl.runtime.paths import PREPARED, SHARDS, TARGETS
from tests.workspace import ROOT, raw_params, tiny_params, write_prepared

URL = "s3://infocl/set"
COST = {"seconds": 1.0, "peak_memory_mib": 1.0}
STAGES = {
    "pretrain": stage.pretrain,
    "plain": pretrain_plain,
    "probe": run_probe,
    "transfer": run_transfer,
    "compare": run_compare,
    "audit": run_audit,
    "export": export_encoder,
    "report": build_report,
}
ROW = 3 * 32**2


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "SHARD_BYTES", 7 * ROW)
    return load_prepared(write_prepared(PREPARED))


def read(prepared, url="shards", **changes):
    """All batches of an epoch."""
    images = open_images(
        tiny_params(train__storage="sharded", train__shards=url, **changes),
        prepared,
        ALONE,
        torch.device("cpu"),
    )
    try:
        return [images.batch(step)[0] for step in range(images.order.batches_per_epoch)]
    finally:
        images.close()


def test_files_are_plain_pixels_that_litdata_reads(prepared):
    from litdata import StreamingDataset

    manifest = write_shards(prepared, "shards")
    pixels = prepared.pretrain.images
    dataset = StreamingDataset("shards")
    assert len(dataset) == len(manifest.shards) == 14
    for number, shard in enumerate(manifest.shards):
        content = (Path("shards") / shard.name).read_bytes()
        mine = pixels[number::14].tobytes()
        assert content[-manifest.pixels(number) :] == mine
        assert len(content) - len(mine) == 16, "counts and offsets, nothing else"
        assert bytes(dataset[number]) == mine
    assert read_json(Path("shards/index.json"), "")["config"]["data_format"] == ["bytes"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_an_index_that_asks_for_unpickling_is_not_followed(prepared, monkeypatch):
    write_shards(prepared, "shards")
    index = read_json(Path("shards/index.json"), "")
    index["config"]["data_format"] = ["pickle"]
    write_json(Path("shards/index.json"), index)
    monkeypatch.setattr(pickle, "loads", lambda *_, **__: pytest.fail("pickle.loads was called"))
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("pickle.load was called"))
    assert len(read(prepared)) == 3


def test_a_pickle_in_place_of_a_shard_is_corrupt(prepared):
    write_shards(prepared, "shards")
    Path("shards/chunk-0-3.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"shards/chunk-0-3\.bin is corrupt; write the shards again"):
        read(prepared)


def damage(file):
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda: damage(Path("shards/chunk-0-5.bin")), r"shards/chunk-0-5\.bin is corrupt; write the shards"),
        (lambda: Path("shards/chunk-0-5.bin").write_bytes(b""), r"shards/chunk-0-5\.bin is corrupt"),
        (
            lambda: Path("shards/chunk-0-5.bin").unlink(),
            r"shards/chunk-0-5\.bin is not there; .*infocl shard",
        ),
        (lambda: Path("shards/infocl.json").unlink(), r"shards/infocl\.json is not there; .*train\.shards"),
        (lambda: Path("shards/infocl.json").write_text("{"), r"shards/infocl\.json cannot be read"),
        (lambda: change(format=9), r"shards/infocl\.json has format 9, not 1"),
        (lambda: change(images=97 * 7), r"shards/infocl\.json is damaged"),
        (lambda: change(shards=3), r"shards/infocl\.json is damaged"),
        (
            lambda: change(images_sha256="0" * 64),
            r"shards in shards hold other images than data/prep",
        ),
        (lambda: escape(), r"shards/infocl\.json is damaged"),
    ],
)
def test_bad_shards_are_one_line(prepared, harm, message):
    write_shards(prepared, "shards")
    harm()
    with pytest.raises(UserError, match=message) as caught:
        read(prepared)
    assert "\n" not in str(caught.value)


def change(**values):
    about = read_json(Path("shards") / MANIFEST, "")
    write_json(Path("shards") / MANIFEST, about | values)


def escape():
    about = read_json(Path("shards") / MANIFEST, "")
    about["shards"][0]["name"] = "../" + about["shards"][0]["name"]
    write_json(Path("shards") / MANIFEST, about)


def test_shards_of_another_data_set_are_refused(prepared):
    write_shards(prepared, "shards")
    other = load_prepared(write_prepared(PREPARED / "other", train=97))
    with pytest.raises(UserError, match=r"hold other images than data/prepared/other; .*infocl shard shards"):
        read(other)


def test_no_place_is_one_line(prepared):
    with pytest.raises(UserError, match=r"nowhere/infocl\.json is not there"):
        read(prepared, "nowhere")


def test_a_folder_of_something_else_is_not_replaced(prepared):
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    with pytest.raises(UserError, match="mine holds something other than shards"):
        write_shards(prepared, "mine")
    with pytest.raises(UserError, match=r"letter\.txt holds something other than shards"):
        write_shards(prepared, "mine/letter.txt")
    assert Path("mine/letter.txt").read_text() == "dear"
    Path("empty").mkdir()
    write_shards(prepared, "empty")
    write_shards(prepared, "empty")
    assert sorted(path.name for path in Path("empty").iterdir())[-2:] == ["index.json", "infocl.json"]


def test_a_damaged_copy_is_downloaded_again(prepared, bucket):
    write_shards(prepared, URL)
    expected = read(prepared, URL)
    damage(next(SHARDS.glob("*/chunk-0-5.bin")))
    assert all(a.equal(b) for a, b in zip(read(prepared, URL), expected, strict=True))
    bucket.put_object(Bucket="infocl", Key="set/chunk-0-5.bin", Body=b"other")
    next(SHARDS.glob("*/chunk-0-5.bin")).unlink()
    with pytest.raises(UserError, match=r"s3://infocl/set/chunk-0-5\.bin is corrupt"):
        read(prepared, URL)


def test_shards_that_were_written_anew_are_read_anew(prepared, bucket):
    write_shards(prepared, URL)
    first = read(prepared, URL)
    other = load_prepared(write_prepared(PREPARED, train=97))
    write_shards(other, URL)
    pixels = torch.from_numpy(other.pretrain.images)
    rows = order.Order(97, 32, 0)
    for step, batch in enumerate(read(other, URL)):
        assert batch.equal(pixels[rows.rows(step)])
        assert not batch.equal(first[step])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://infocl/nothing", r"s3://infocl/nothing/infocl\.json is not there; .*infocl shard"),
        ("s3://absent/set", r"s3://absent/set/infocl\.json is not there"),
    ],
)
def test_what_a_bucket_lacks_is_one_line(prepared, bucket, url, message):
    with pytest.raises(UserError, match=message):
        read(prepared, url)


def test_a_shard_that_a_bucket_lacks_is_one_line(prepared, bucket):
    write_shards(prepared, URL)
    bucket.delete_object(Bucket="infocl", Key="set/chunk-0-2.bin")
    with pytest.raises(UserError, match=r"s3://infocl/set/chunk-0-2\.bin is not there"):
        read(prepared, URL)


def test_a_server_that_does_not_answer_is_one_line(prepared, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(places, "TRIES", 2)
    for work in (lambda: read(prepared, URL), lambda: write_shards(prepared, URL)):
        with pytest.raises(UserError, match=r"set/infocl\.json cannot be reached .*AWS_ENDPOINT_URL"):
            work()


def test_a_write_that_was_stopped_leaves_no_shards(prepared, bucket, monkeypatch):
    write_shards(prepared, URL)
    monkeypatch.setattr(sharding, "sha256_file", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_shards(prepared, URL)
    with pytest.raises(UserError, match=r"infocl\.json is not there"):
        read(prepared, URL)


def test_without_litdata_the_message_names_the_extra(prepared, monkeypatch):
    monkeypatch.setattr(places, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs litdata.*pip install 'infocl\[shards\]'"):
        read(prepared, URL)


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_the_command_writes_what_the_stage_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    with Path("params.yaml").open("w") as stream:
        YAML().dump(raw_params(train__storage="sharded", train__shards="out"), stream)
    written = run("infocl", "shard", "out")
    assert written.returncode == 0, written.stderr
    assert written.stdout == "out holds 96 images in 1 shards.\n"
    done = run("stages.pretrain")
    assert done.returncode == 0, done.stderr
    assert "Images: 0.3 MiB, streamed from the shards in out (" in done.stderr


def test_params_name_their_shards():
    with pytest.raises(UserError, match=r"train\.storage sharded needs train\.shards"):
        tiny_params(train__storage="sharded")
    with pytest.raises(UserError, match=r"train\.shards http://x is neither a folder nor s3://bucket/prefix"):
        tiny_params(train__shards="http://x")


def test_every_stage_runs_where_the_disk_holds_labels_and_test_images_alone(prepared):
    write_prepared(TARGETS / "digits", name="digits", train=110, test=40)
    write_shards(prepared, "shards")
    prepared.images_file("train").unlink()
    params = tiny_params(
        objective__name="supervised",
        train__shards="shards",
        encoder__width=0.0625,
        transfer__targets=["digits"],
        compare__untrained=1,
        audit__factors=["hue"],
        probe__l2=[1.0],
    )
    prepare = {"data": "scenes", "classes": 10, "train_images": 96, "test_images": 48}
    for name in ("prepare", "targets"):
        write_results(name, prepare | COST)
    for name, work in STAGES.items():
        write_results(name, work(params) | COST)
    assert json.loads(Path("models/pretrain/config.json").read_text())["objective"] == "supervised"
    assert "learned from 96 images of scenes" in Path("report/index.html").read_text()
