"""A copy of this project whose stages do in a moment what they do in minutes: all else about it is real.

Each stage reads params.yaml, holds the workspace and exits as the real ones do; what it writes depends on its
params and inputs only, as theirs does. The encoder is a small one that was exported beforehand.
"""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from tests.pipelines.exports import write_export
from tests.project import ALL, Project
from tests.workspace import ROOT

RULES = {"gate__max_mean_drop": 0.1, "gate__max_task_drop": 0.1, "gate__max_latency_ratio": 1000.0}


# What no new version needs: fewer processes where a test is of something else.
ASIDE = ("targets", "plain", "compare", "audit")


class QuickProject(Project):
    """A clone that tests may change and run, with commands in an environment of its own.

    Args:
        without: stages that dvc.yaml shall not have.

    Attributes:
        outside: the folder beside it for faults, encoders and remotes.
    """

    def __init__(self, folder: Path, without=(), **changes):
        self.outside = folder.parent
        super().__init__(folder, transfer__targets=["digits"], **RULES, **changes)
        exports = self.outside / "encoders"
        write_export(exports / "1", weights=1.0, digits=(400, 449))
        write_export(exports / "0.5", weights=0.5, digits=(420, 449))
        write_export(exports / "0", weights=0.1, digits=(300, 449))
        self.faults = self.outside / "faults"
        self.faults.mkdir()
        code = (ROOT / "tests/pipelines/quick_stage.py").read_text()
        for stage in ALL:
            (folder / f"stages/{stage}.py").write_text(
                code.replace('Path("..")', f"Path({str(self.outside)!r})")
            )
        self._drop(without)
        self.commit("stages that take a moment")

    def _drop(self, stages):
        path = self.folder / "dvc.yaml"
        pipeline, gone = YAML().load(path.read_text()), set()
        for name in stages:
            stage = pipeline["stages"].pop(name)
            gone |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}
        for stage in pipeline["stages"].values():
            if "deps" in stage:
                stage["deps"] = [dep for dep in stage["deps"] if dep not in gone]
        with path.open("w") as stream:
            YAML().dump(pipeline, stream)

    def fault(self, stage, words):
        """Put something in the way of the next run of a stage, such as "wrong x is bad"."""
        (self.faults / stage).write_text(words)
