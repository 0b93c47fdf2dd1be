"""`infocl study`: run what is missing, then print what all of it says."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.experiments.dvc_command import downloads, run_dvc
from infocl.experiments.overrides import overridden
from infocl.experiments.study.plan import Planned, plan
from infocl.experiments.study.record import Study, gather, load_studies, save_study
from infocl.experiments.study.show import STYLES, print_study
from infocl.experiments.table.experiments import Experiment, read_experiments
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.files import write_text
from infocl.runtime.text import counted

TRIES = 20


class Shown(NamedTuple):
    """How a study is shown: terminal, markdown or json; as data in a file; as a picture (SVG)."""

    style: str = "terminal"
    save: Path | None = None
    figure: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be done before hours of training.

        Raises:
            UserError: the format is not known, or the picture's name has another ending than .svg.
        """
        if self.style not in STYLES:
            raise UserError(f"--format is {self.style!r}; use one of {', '.join(STYLES)}")
        if self.figure and self.figure.suffix != ".svg":
            raise UserError(f"--figure is {self.figure}, but must end with .svg")


def run_study(
    objectives: Sequence[str],
    regularizers: Sequence[str],
    weights: Sequence[float],
    seeds: Sequence[int],
    overrides: Sequence[str],
    *,
    new_data: bool,
    mode: str,
    jobs: int,
    shown: Shown,
) -> None:
    """Run, queue or only show a study; the arguments are those of `plan`.

    Args:
        mode: `run` what is missing; `queue` it with DVC; or `show` what is finished.
        jobs: so many experiments run at once.
        shown: how.

    Raises:
        UserError: an argument is wrong, or nothing is finished.
        InfoCLError: `dvc` failed, or every experiment did.
    """
    shown.check()
    raw = read_yaml(PARAMS_FILE)
    planned = plan(objectives, regularizers, weights, seeds, overrides, raw, new_data=new_data)
    finished, waiting = _finished()
    missing = [one for one in planned if one.name not in finished]
    print(f"{counted(len(planned), 'experiment')}, {len(missing)} of them missing.", file=sys.stderr)
    if mode == "queue":
        for one in missing:
            if one.name not in waiting:
                run_dvc(["exp", "run", "--queue", *_arguments(one)], capture=True)
        print("Start them: dvc queue start --jobs 2; this command with --show prints what is finished.")
        return
    if mode == "run" and missing:
        _run(missing, downloads(overridden(raw, overrides)), jobs)
        finished, _ = _finished()
    words = ["infocl", "study", "--objectives", ",".join(objectives)]
    words += ["--regularizers", ",".join(regularizers)]
    words += ["--weights", ",".join(f"{weight:g}" for weight in weights)] if weights else []
    words += ["--seeds", ",".join(map(str, seeds)), *(word for one in overrides for word in ("-S", one))]
    command = shlex.join([*words, *(["--new-data"] if new_data else [])])
    _show(gather(planned, finished, overridden(raw, overrides), command, new_data=new_data), shown)


def show_saved(files: Sequence[Path], shown: Shown) -> None:
    """Show studies that `--save` wrote, as one.

    Raises:
        UserError: a file holds no study, or two do not belong together.
    """
    shown.check()
    _show(load_studies(files), shown, with_commands=True)


def _show(study: Study, shown: Shown, *, with_commands: bool = False) -> None:
    print_study(study, shown.style, with_commands=with_commands)
    if shown.save:
        save_study(study, shown.save)
    if shown.figure:
        from infocl.experiments.study.figure import draw_study  # loads matplotlib

        write_text(shown.figure, draw_study(study))


def _arguments(one: Planned) -> list[str]:
    return ["--name", one.name, *(word for setting in one.settings for word in ("-S", setting)), one.until]


def _finished() -> tuple[dict[str, Experiment], set[str]]:
    """Finished experiments by name, and the names of those that are queued or running."""
    found = read_experiments(run_dvc(["exp", "show", "--json"], capture=True), partly_run=True)
    return {run.name: run for run in found.finished}, found.waiting


def _run(missing: Sequence[Planned], environment: Mapping[str, str], jobs: int) -> None:
    """Run experiments, several at once; only one that is alone shows what its stages print."""
    failed = []

    def run(number: int, one: Planned) -> None:
        print(f"[{number}/{len(missing)}] {one.method.title}, seed {one.seed}", file=sys.stderr)
        try:
            _start(["exp", "run", "--temp", *_arguments(one)], jobs > 1, environment)
        except InfoCLError as error:
            failed.append(f"{one.method.title}, seed {one.seed}: {error}")
            print(failed[-1], file=sys.stderr)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, range(1, len(missing) + 1), missing))
    if len(failed) == len(missing):
        raise InfoCLError(f"every experiment failed; the first: {failed[0]}")


def _start(command: Sequence[str], capture: bool, environment: Mapping[str, str]) -> None:
    """Run DVC, again where another one had its lock for longer than the three seconds that it waits."""
    for left in reversed(range(TRIES)):
        try:
            run_dvc(command, capture=capture, environment=environment)
            return
        except InfoCLError as error:
            if "Unable to acquire lock" not in str(error) or not left:
                raise
