"""What surrounds runs, on a project of one stage: waiting in line, signs of life, and `clean` as a flow."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infocl.runtime.lock import HOLDER, workspace
from pipelines import heartbeat
from pipelines.clean import clean
from pipelines.waiting import Place, SuperfluousError
from tests.pipelines.faults import DEADLINE, Program, free_port, until

RETRAIN = (sys.executable, "-m", "pipelines", "retrain")


def test_of_runs_that_would_do_the_same_one_waits_and_the_next_ends_at_once(in_service, server, tmp_path):
    def start(name):
        return Program(RETRAIN, in_service.folder, tmp_path / name, **{HOLDER: ""})

    with workspace("a person"):
        first = start("first")
        until(lambda: "Waiting for a person" in first.message(), first.message)
        second = start("second")
        assert second.process.wait(DEADLINE) == 0, second.message()
        assert "waits for this workspace and will see the same changes." in second.message()
        assert first.process.poll() is None, "the first one waits on"
    assert first.process.wait(DEADLINE) == 0, first.message()
    assert "v1.1.0 is in service in place of v1.0.0" in first.message()


def test_runs_with_other_parameters_wait_beside_it_and_a_place_is_free_again(in_service):
    one, same = (Place(name, {"force": False}) for name in ("one", "two"))
    one.take()
    Place("other", {"force": True}).take()
    with pytest.raises(SuperfluousError, match="one"):
        same.take()
    one.leave()
    same.take()


def test_a_result_that_the_cache_lost_is_made_here_where_no_remote_answers(in_service, server):
    in_service.git("reset", "--quiet", "--hard", in_service.commits[0])
    in_service.dvc("checkout", "--quiet")
    in_service.dvc("remote", "modify", "--local", "store", "url", f"http://127.0.0.1:{free_port()}/store")
    lost = hashlib.md5((in_service.folder / "exports/encoder/encoder.json").read_bytes()).hexdigest()
    (in_service.folder / ".dvc/cache/files/md5" / lost[:2] / lost[2:]).unlink()
    message = in_service.run(*RETRAIN)
    assert "WARNING" in next(line for line in message.splitlines() if "No result of export came from" in line)
    assert message.count("the run goes on without.") == 1
    assert "Running stage 'export'" in message
    assert "The encoder came out as it was, byte for byte; v1.0.0 stays in service." in message


@pytest.fixture
def alarm(monkeypatch):
    """The address of a dead man's alarm in the environment, and the paths that it was asked for."""
    asked = []

    class Alarm(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Log nothing of each request."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Alarm)
    Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv(heartbeat.URL, f"http://127.0.0.1:{httpd.server_address[1]}/secret")
    yield asked
    httpd.shutdown()


def test_a_run_that_went_well_gives_a_sign_of_life_to_a_file_and_an_address(in_service, alarm):
    in_service.git("reset", "--quiet", "--hard", in_service.commits[0])
    in_service.dvc("checkout", "--quiet")
    message = in_service.run(*RETRAIN)
    assert message == "Nothing changed; v1.0.0 is in service.\n"
    assert json.loads(heartbeat.FILE.read_text())["in_service"] == "v1.0.0"
    assert alarm == ["/secret"]


def test_an_alarm_that_cannot_be_reached_spoils_nothing_and_its_address_stays_secret(in_service, monkeypatch):
    monkeypatch.setenv(heartbeat.URL, f"http://127.0.0.1:{free_port()}/secret")
    said = []
    heartbeat.beat(said.append)
    assert said == ["The heartbeat did not reach $INFOCL_HEARTBEAT_URL (ConnectError)."]
    assert heartbeat.FILE.exists()
    heartbeat.FILE.unlink()
    heartbeat.FILE.mkdir()
    heartbeat.beat(said.append)
    assert said[1].startswith("The heartbeat exports/service/heartbeat.json was not written"), said


def test_clean_as_a_flow_removes_what_is_old(toy, server, tmp_path):
    for name, days in (("0123456789abcdef", 100), ("fedcba9876543210", 1)):
        file = toy.folder / "models/checkpoints" / name / "checkpoint.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        written = time.time() - days * 86_400
        os.utime(file, (written, written))
    with temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path / "home"}):
        clean(dry=True)
        assert len(list((toy.folder / "models/checkpoints").iterdir())) == 2
        clean()
    assert [path.name for path in (toy.folder / "models/checkpoints").iterdir()] == ["fedcba9876543210"]
