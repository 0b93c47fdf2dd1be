"""Exit codes by contract, and what a full disk or a forbidden folder does: one line, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import venv

import numpy as np
import pytest
import torch
from PIL import Image

from infocl.encoder.files import save_encoder
from infocl.encoder.network import Encoder
from infocl.runtime.checkpoint import Checkpoints, Progress
from infocl.runtime.errors import InfoCLError, UserError, guarded
from infocl.runtime.files import replacing, replacing_folder, write_array, write_json, write_text
from tests.workspace import ROOT, digit_images, raw_params, tiny_params, write_prepared


def test_exit_codes(capsys):
    def fails(error):
        def work():
            raise error

        return guarded(work)

    assert guarded(lambda: None) == 0
    assert fails(UserError("correct it")) == 2
    assert fails(InfoCLError("sorry")) == 1
    assert fails(PermissionError(13, "no", "/some/file")) == 2
    assert fails(KeyboardInterrupt()) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:2] == ["infocl: correct it", "infocl: sorry"]
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
        "from stages.run import run_stage\n"
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


def run_in(folder, command, **changes):
    """A stage, or Python code, run by a shell in a folder that has a params.yaml."""
    (folder / "params.yaml").write_text(json.dumps(raw_params(**changes)))
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("closed", "code"), [("| head -0", 128 + signal.SIGPIPE), (">&-", 0)])
def test_a_stage_whose_output_nobody_reads_ends_without_a_traceback(tmp_path, closed, code):
    code_of_stage = (
        "import time, stages; from stages.run import run_stage; "
        "run_stage('probe', lambda params: [time.sleep(1), print('done', flush=True), None][2])"
    )
    done = run_in(tmp_path, f'"$PYTHON" -c "{code_of_stage}" {closed}')
    assert (done.returncode, done.stderr) == (code, "")


def test_memory_that_no_machine_has_is_one_line(tmp_path):
    write_prepared(tmp_path / "data/prepared")
    done = run_in(tmp_path, '"$PYTHON" -m stages.pretrain', objective__simclr__projector_hidden=1_000_000_000)
    assert done.returncode == 2
    assert "does not suffice (238.4 GiB at once were asked for); make train.batch_size or the" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_disk_that_fails_is_one_line(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(digit_images(24)[0]):
        Image.fromarray(image).save(tmp_path / f"pictures/{number}.png")
    limited = 'ulimit -f 20; "$PYTHON" -m stages.prepare'
    done = run_in(tmp_path, limited, data__name="folder", data__root="pictures")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("infocl: the disk failed at data/decoding/source; ")
    assert "Traceback" not in done.stderr


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


def test_another_python_is_one_line_that_names_the_hint(tmp_path):
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
