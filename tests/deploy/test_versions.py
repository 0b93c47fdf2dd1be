"""Versions of the encoder from another machine: git tags made by GTO, files from a DVC remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from infocl.runtime.files import sha256_file
from tests.deploy.test_verify import sum_again
from tests.workspace import ROOT


def run(*command, cwd):
    """Run a program of this environment; returns what it printed."""
    programs = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved, because it may be a link
    paths = os.pathsep.join([programs, os.environ["PATH"]])
    # Without a home folder of its own, DVC would find files in this machine's caches.
    clean = os.environ | {
        "PATH": paths,
        "HOME": str(cwd),
        "DVC_SITE_CACHE_DIR": str(cwd / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published(exported, tmp_path_factory):
    """A git repository with versions 1.0.0 and 1.1.0 of the encoder; its files lie in a DVC remote alone."""
    place = tmp_path_factory.mktemp("published")
    work, remote, bare = place / "work", place / "remote", place / "repository.git"
    work.mkdir()
    artifacts = YAML(typ="safe").load(ROOT / "dvc.yaml")["artifacts"]
    YAML().dump({"artifacts": artifacts}, work / "dvc.yaml")
    for command in (
        "git init -q -b main",
        "git config user.name Tester",
        "git config user.email tester@example.org",
        "dvc init -q",
    ):
        run(*command.split(), cwd=work)
    run("dvc", "remote", "add", "-q", "-d", "shared", str(remote), cwd=work)
    encoder = work / artifacts["encoder"]["path"]
    shutil.copytree(exported[0] / "exports/encoder", encoder)
    for version in ("v1.0.0", "v1.1.0"):
        with (encoder / "README.md").open("a") as card:
            card.write(f"\nThis is {version}.\n")
        sum_again(encoder)
        run("dvc", "add", "-q", str(encoder), cwd=work)
        run("git", "add", "-A", cwd=work)
        run("git", "commit", "-qm", version, cwd=work)
        run("gto", "register", "encoder", "--version", version, cwd=work)
        run("dvc", "push", "-q", cwd=work)
    run("git", "clone", "-q", "--bare", str(work), str(bare), cwd=place)
    shutil.rmtree(work)
    return bare


@pytest.mark.parametrize(
    ("arguments", "version"),
    [
        (("artifacts", "get", "{url}", "encoder", "--rev", "v1.0.0"), "v1.0.0"),
        (("artifacts", "get", "{url}", "encoder"), "v1.1.0"),
        (("get", "{url}", "exports/encoder", "--rev", "encoder@v1.0.0"), "v1.0.0"),
    ],
)
def test_a_version_arrives_whole_on_a_fresh_machine(published, infocl, tmp_path, arguments, version):
    command = [part.format(url=published) for part in arguments]
    run("dvc", *command, "-o", "arrived", cwd=tmp_path)
    arrived = tmp_path / "arrived"
    assert (arrived / "README.md").read_text().endswith(f"\nThis is {version}.\n")
    result = infocl("verify", arrived)
    assert result.exit_code == 0, result.stderr
    assert sha256_file(arrived / "encoder.onnx") in (arrived / "SHA256SUMS").read_text()
