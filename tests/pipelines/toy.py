"""A DVC project of one stage, an exported encoder, without anything to train: for versions and branches."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines import service
from pipelines.registry import Version, adopt, draft
from tests.once import once
from tests.pipelines.exports import write_export
from tests.pipelines.quick import RULES
from tests.project import environment
from tests.workspace import ROOT, raw_params

DVC_YAML = """\
stages:
  export:
    cmd: cp -r source exports/encoder
    deps: [source]
    outs:
      - exports/encoder
artifacts:
  encoder:
    path: exports/encoder
    type: model
"""


class Toy:
    """A git repository with DVC in a folder with a space in its name."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        (folder / "exports").mkdir()
        (folder / "dvc.yaml").write_text(DVC_YAML)
        (folder / ".gitignore").write_text("/exports/\n")
        with (folder / "params.yaml").open("w") as stream:
            YAML().dump(raw_params(**RULES), stream)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.name", "A Tester")
        self.git("config", "user.email", "tester@example.org")
        self.dvc("init", "--quiet")
        self.dvc("config", "core.analytics", "false")

    def run(self, *command, code=0):
        """Run a command to its end; its output, standard error included."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        message = done.stdout + done.stderr
        assert done.returncode == code, f"{command} ended with {done.returncode}, not {code}:\n{message}"
        assert "Traceback" not in message, message
        return message

    def git(self, *arguments, code=0):
        return self.run("git", *arguments, code=code)

    def dvc(self, *arguments, code=0):
        return self.run("dvc", *arguments, code=code)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def export(self, weights, right=400):
        """Reproduce with another encoder and commit; the commit."""
        shutil.rmtree(self.folder / "source", ignore_errors=True)
        write_export(self.folder / "source", weights=weights, digits=(right, 449))
        (self.folder / "metrics").mkdir(exist_ok=True)
        (self.folder / "metrics/transfer.json").write_text(json.dumps({"digits": {"accuracy": right / 449}}))
        self.dvc("repro", "--quiet")
        return self.commit(f"encoder of weights {weights}")


def opened(folder, commits):
    """The toy that lies in a folder."""
    toy = Toy.__new__(Toy)
    toy.folder, toy.commits = folder, commits
    return toy


def copied(toy, folder):
    """A copy of a toy that a test may change; what it pushes goes to the same remote."""
    return opened(shutil.copytree(toy.folder, folder, symlinks=True), toy.commits)


def entered(made, folder, patch):
    """A copy of a toy below `folder`, as the current folder of `patch`, a MonkeyPatch."""
    copy = copied(made, folder / "a toy")
    patch.chdir(copy.folder)
    patch.setenv("PYTHONPATH", str(ROOT))
    return copy


def make(folder):
    """A toy with three committed encoders, none of them registered, and a remote that has them."""
    toy = Toy(folder / "a toy")
    toy.dvc("remote", "add", "--default", "store", str(folder / "store"))
    toy.commits = [toy.export(weights) for weights in (1.0, 2.0, 3.0)]
    toy.dvc("push", "--quiet", "--all-commits")
    return toy


def shared(tmp_path_factory):
    """A toy as `make` makes it, and one of which v1.0.0 is in service: both made once for all workers."""
    folder = once(tmp_path_factory, "toys", _make)
    commits = json.loads((folder / "made").read_text())
    return opened(folder / "a toy", commits), opened(folder / "served/a toy", commits)


def _make(folder):
    toy = make(folder)
    with pytest.MonkeyPatch.context() as patch:
        promoted(entered(toy, folder / "served", patch), 0, "v1.0.0")
    return json.dumps(toy.commits)


def nothing(_line):
    """Not of interest."""


def promoted(toy, index, name):
    version = Version(name, toy.commits[index])
    adopt(draft(version, "put in service"))
    service.reconcile(nothing)
    return version


def weights_in_service():
    return json.loads(service.CURRENT.joinpath("encoder.json").read_text())["weights_sha256"]


def weights(value):
    return f"{value:064.6f}".replace(".", "f")


def production(toy):
    """The version in service as GTO's own command sees it."""
    row = next(line for line in toy.run("gto", "show").splitlines() if line.startswith("│ encoder"))
    return row.split("│")[3].strip()
