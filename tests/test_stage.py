"""Exit codes by contract, and what a full disk or a forbidden folder does: one line, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import venv

import numpy as np
import pytest
import torch

from infocl.checkpoint import Checkpoints, Progress
from infocl.encoders import Encoder, save_encoder
from infocl.errors import InfoCLError, UserError, guarded
from infocl.files import replacing, replacing_folder, write_array, write_json, write_text
from tests.workspace import ROOT, raw_params, tiny_params


def test_exit_codes(capsys):
    def fails(error):
        def work():
            raise error

        return guarded(work)

    assert guarded(lambda: None) == 0
    assert fails(UserError("mend it")) == 2
    assert fails(InfoCLError("sorry")) == 1
    assert fails(PermissionError(13, "no", "/some/file")) == 2
    assert fails(KeyboardInterrupt()) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:2] == ["infocl: mend it", "infocl: sorry"]
    assert "Traceback" not in captured.err
    assert fails(RuntimeError("a bug")) == 1
    assert "Traceback" in capsys.readouterr().err, "a bug keeps its traceback"


@pytest.fixture
def small_files():
    """The system refuses files above 64 KiB, with the error of a full disk's kind."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def _write_weights(folder):
    save_encoder(folder, Encoder(tiny_params().encoder, [0.5] * 3, [0.25] * 3), {})


def _write_checkpoint(folder):
    model = torch.nn.Linear(256, 256)
    Checkpoints(folder, "f" * 64).save(model, torch.optim.Adam(model.parameters()), Progress(1, []))


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_array(folder / "x.npy", np.zeros(1 << 20)),
        lambda folder: write_text(folder / "x.txt", "x" * (1 << 20)),
        _write_weights,
        _write_checkpoint,
    ],
)
def test_no_space_is_one_line_and_leaves_nothing_half_written(tmp_path, small_files, capsys, write):
    assert guarded(lambda: write(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("infocl: the disk is full")
    assert error.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stage_without_space_keeps_the_old_result(tmp_path):
    def prepare(limit):
        return subprocess.run(
            [sys.executable, "-m", "stages.prepare"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    (tmp_path / "params.yaml").write_text(json.dumps(raw_params()))
    assert prepare(1 << 30).returncode == 0
    images = tmp_path / "data/prepared/train/images.npy"
    before = hashlib.sha256(images.read_bytes()).hexdigest()
    failed = prepare(1 << 16)
    assert failed.returncode == 2
    assert failed.stderr.startswith("infocl: the disk is full")
    assert failed.stderr.count("\n") == 1
    assert hashlib.sha256(images.read_bytes()).hexdigest() == before
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"prepared", "decoding"}


def test_a_stage_collects_garbage_and_leaves_with_its_output_whole(tmp_path):
    code = (
        "import atexit, gc, stages\n"
        "from infocl.stage import run_stage\n"
        "atexit.register(print, 'left')\n"
        "run_stage('probe', lambda params: print('collects', gc.isenabled()))"
    )
    (tmp_path / "params.yaml").write_text(json.dumps(raw_params()))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "collects True\nleft\n", "")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "result"
    with replacing_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(KeyError), replacing_folder(folder) as temporary:
        (temporary / "b").write_text("half")
        raise KeyError
    assert [path.name for path in folder.iterdir()] == ["a"]
    with replacing_folder(folder) as temporary:
        (temporary / "b").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]


def test_another_python_is_one_line_that_names_the_mend(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    done = subprocess.run(
        [tmp_path / "bare/bin/python", "-m", "stages.check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "source .venv/bin/activate" in done.stderr


def test_what_a_kill_left_of_a_folder_is_put_right(tmp_path):
    folder = tmp_path / "features"
    with replacing_folder(folder) as temporary:
        (temporary / "kept").write_text("1")
    folder.rename(tmp_path / ".features.abc.old")  # where a kill between two renames leaves it
    (tmp_path / ".features.def.tmp").mkdir()
    with pytest.raises(RuntimeError), replacing_folder(folder):
        raise RuntimeError
    assert (folder / "kept").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "metrics").write_text("")
    assert guarded(lambda: write_json(tmp_path / "metrics/x.json", {})) == 2
    assert capsys.readouterr().err.startswith("infocl: a file lies where a folder must be")
