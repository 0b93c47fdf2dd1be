"""Users of an export have neither torch nor DVC: the commands for them must not so much as ask."""

from __future__ import annotations

import subprocess
import sys

from PIL import Image

from tests.workspace import ROOT

ABSENT = (
    *("torch", "torchvision", "kornia", "dvc", "prefect", "sklearn", "scipy", "ruamel", "hydra"),
    *("uvicorn", "starlette", "grpc"),
)
# What was imported before does not count; a name that is None in sys.modules cannot be imported.
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
from infocl.cli.main import main
main()
"""


def run(*arguments):
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_they_really_are_absent():
    done = run("doctor")
    assert done.returncode == 2
    assert "is not installed: pip install 'infocl[train]'" in done.stderr


def test_embed_verify_and_triton_run(folder, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    for arguments in (
        ("embed", tmp_path / "a.png", "-o", tmp_path / "f.parquet", "--encoder", folder),
        ("search", tmp_path / "a.png", "--in", tmp_path / "f.parquet", "--index", tmp_path / "index"),
        ("verify", folder),
        ("triton", folder, tmp_path / "repository"),
        ("--help",),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr


def test_drift_is_told(folder, tmp_path):
    for number in range(20):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{number}.png")
    done = run("drift", tmp_path, "--encoder", folder)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("Drift: 20 of 20 images differ from the 60 test images of the encoder")


def test_serve_says_which_extra_it_needs(folder):
    done = run("serve", folder)
    assert done.returncode == 2
    hint = "pip install 'infocl[serve]'"
    assert done.stderr == f"infocl: this command needs uvicorn, which is not installed: {hint}\n"
