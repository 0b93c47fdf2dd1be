"""A copy of this project in a folder of its own, with real git and real DVC, shrunk to run in seconds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.workspace import ROOT, raw_params

DOWNSTREAM = {"probe", "transfer", "compare", "audit", "export", "report"}
ALL = {"check", "prepare", "targets", "pretrain", "plain"} | DOWNSTREAM


class Project:
    """A clone that tests may change and run.

    Args:
        folder: where it lies; made here.
        changes: to params.yaml, such as `reg__name="rc"`.
    """

    def __init__(self, folder: Path, **changes):
        self.folder = folder
        listed = _output(["git", "ls-files", "-co", "--exclude-standard", "-z"], ROOT).split("\0")
        for name in filter(None, listed):
            if (ROOT / name).is_file() and not name.startswith(("tests/", "metrics/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.set_params(raw_params(**changes))
        self.git("init", "--quiet")
        self.git("config", "user.name", "A Tester")
        self.git("config", "user.email", "tester@example.org")
        self.commit("start")

    def set_params(self, raw):
        with (self.folder / "params.yaml").open("w") as stream:
            YAML().dump(raw, stream)

    def change(self, key, value):
        """Change one value of params.yaml, keeping its comments."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        raw = yaml.load(path.read_text())
        *parents, last = key.split(".")
        node = raw
        for parent in parents:
            node = node[parent]
        node[last] = value
        with path.open("w") as stream:
            yaml.dump(raw, stream)

    def git(self, *arguments):
        return _output(["git", *arguments], self.folder)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", message)

    def start(self, *command):
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command, code=0):
        """Run a command to its end; its output, standard error included."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=1800)
        assert process.returncode == code, f"{command} ended with {process.returncode}, not {code}:\n{output}"
        assert "Traceback" not in output, output
        return output

    def dvc(self, *arguments, code=0):
        return self.run("dvc", *arguments, code=code)

    def repro(self):
        """`dvc repro`; the names of the stages that ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro")))


def environment():
    """This environment with its programs first on the path, as after activation."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _output(command, folder):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
