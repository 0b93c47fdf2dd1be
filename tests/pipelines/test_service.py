"""The folder in service and its journal, on real git, DVC and GTO."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from prefect.logging import disable_run_logger

from infocl.deploy.sums import check_sums
from infocl.runtime.lock import BusyError
from pipelines import service
from pipelines.promotion import promote
from pipelines.registry import Registry, Version, draft, read_registry
from pipelines.rollback import roll_back
from tests.pipelines.exports import write_export
from tests.pipelines.toy import nothing, promoted


def test_a_folder_with_a_file_missing_or_too_many_is_not_whole(tmp_path):
    folder = write_export(tmp_path / "v1.0.0", digits=(400, 449))
    assert service._whole(folder)
    (folder / "extra").touch()
    assert not service._whole(folder)
    (folder / "extra").unlink()
    (folder / "example.npz").unlink()
    assert not service._whole(folder)


@pytest.mark.parametrize("damage", ["changed", "no folder", "half done", "no link", "a folder in its place"])
def test_what_was_damaged_in_service_is_put_right_and_what_is_whole_is_left_alone(in_service, damage):
    folder = service.SERVICE / "v1.0.0"
    stamp = folder.stat().st_mtime_ns
    service.reconcile(nothing)
    assert folder.stat().st_mtime_ns == stamp
    if damage == "changed":
        (folder / "encoder.onnx").write_bytes(b"x")
    elif damage == "no folder":
        shutil.rmtree(folder)
    elif damage == "half done":
        service.CURRENT.unlink()
        for leftover in (".link.x1", ".v1.0.0.x2"):
            (service.SERVICE / leftover / "encoder").mkdir(parents=True)
    else:
        service.CURRENT.unlink()
        if damage == "a folder in its place":
            shutil.copytree(folder, service.CURRENT)
    service.reconcile(nothing)
    assert service.CURRENT.readlink().name == "v1.0.0"
    check_sums(service.CURRENT)
    assert sorted(path.name for path in service.SERVICE.iterdir()) == ["current", "v1.0.0"]


def test_only_the_version_in_service_and_the_one_before_are_kept_as_folders(in_service):
    promoted(in_service, 1, "v1.1.0")
    promoted(in_service, 2, "v1.2.0")
    assert sorted(path.name for path in service.SERVICE.glob("v*")) == ["v1.1.0", "v1.2.0"]
    roll_back("v1.0.0", None, nothing, 0)
    assert sorted(path.name for path in service.SERVICE.glob("v*")) == ["v1.0.0", "v1.2.0"]


READER = """
import os, sys
print("reading", flush=True)
looks = missing = 0
while os.path.exists(sys.argv[1]):
    try:
        link = os.readlink("exports/service/current")
        with open("exports/service/current/encoder.json") as stream:
            stream.read()
        looks += 1
    except OSError:
        missing += 1
print(looks, missing, flush=True)
"""


def test_a_reader_never_finds_the_encoder_missing_while_it_is_switched(in_service):
    toy = in_service
    promoted(toy, 1, "v1.1.0")
    (toy.folder / "go").touch()
    reader = subprocess.Popen([sys.executable, "-c", READER, "go"], stdout=subprocess.PIPE, text=True)
    reader.stdout.readline()
    for index in range(20):
        one, other = (Version("v1.0.0", toy.commits[0]), Version("v1.1.0", toy.commits[1]))
        served = [one, other] if index % 2 else [other, one]
        service.reconcile(nothing, Registry([one, other], [*served, *served]))
    (toy.folder / "go").unlink()
    looks, missing = map(int, reader.communicate()[0].split())
    assert looks > 20
    assert missing == 0


def test_what_is_in_service_is_changed_by_one_at_a_time_and_a_wait_ends_in_one_line(in_service):
    code = "import pipelines.service as s\nwith s.alone():\n    print('held', flush=True)\n    input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match="another process has been changing what is in service"):
        roll_back(None, None, nothing, 0.2)
    other.kill()
    other.wait()
    with service.alone(0), service.alone(0):
        assert service.reconcile(nothing).name == "v1.0.0"


def test_an_encoder_is_not_put_in_service_that_was_judged_against_another_than_is_there_now(in_service):
    before = in_service.git("tag")
    version = Version("v1.1.0", in_service.commits[1])
    with disable_run_logger():
        assert not promote.fn(version, version, draft(version, "late"), None)
        assert in_service.git("tag") == before
        assert promote.fn(version, read_registry().in_service, draft(version, "in time"), None)
    assert read_registry().in_service == version


def test_the_journal_passes_over_a_torn_line_and_goes_on_after_it(toy):
    service.record("promoted", "aa", {"x": 1}, version="v1.0.0")
    with service.JOURNAL.open("a") as stream:
        stream.write('{"at": "2026-01-01", "decision": "refu')
    service.record("refused", "bb", {"x": 1}, reason="worse")
    assert [entry["candidate"] for entry in service.journal()] == ["aa", "bb"]
    assert service.decided("bb", {"x": 1})["reason"] == "worse"
    assert service.decided("bb", {"x": 2}) is None
    assert service.decided("aa", {"x": 1})["decision"] == "promoted"
    with service.JOURNAL.open("ab") as stream:
        stream.write(b"\xff\xfe\n[1]\n")
    assert len(list(service.journal())) == 2
