"""`infocl study`: run what is missing, then print what all of it says."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.experiments.dvc_command import run_dvc
from infocl.experiments.study.plan import Planned, plan
from infocl.experiments.study.show import STYLES, print_study
from infocl.experiments.table.experiments import Experiment, read_experiments
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.text import counted


def run_study(
    objectives: Sequence[str],
    regularizers: Sequence[str],
    weights: Sequence[float],
    seeds: Sequence[int],
    overrides: Sequence[str],
    *,
    new_data: bool,
    mode: str,
    style: str,
) -> None:
    """Run, queue or only show a study; the arguments are those of `plan`.

    Args:
        mode: `run` what is missing, one after the other; `queue` it with DVC; or `show` what is finished.
        style: terminal, markdown or json.

    Raises:
        UserError: an argument is wrong, or nothing is finished.
        InfoCLError: `dvc` failed, or every experiment did.
    """
    if style not in STYLES:
        raise UserError(f"--format is {style!r}; use one of {', '.join(STYLES)}")
    raw = read_yaml(PARAMS_FILE)
    planned = plan(objectives, regularizers, weights, seeds, overrides, raw, new_data=new_data)
    finished = _finished()
    missing = [one for one in planned if one.name not in finished]
    print(f"{counted(len(planned), 'experiment')}, {len(missing)} of them missing.", file=sys.stderr)
    if mode == "queue":
        for one in missing:
            run_dvc(["exp", "run", "--queue", *_arguments(one)], capture=True)
        print("Start them: dvc queue start --jobs 2; this command with --show prints what is finished.")
        return
    if mode == "run" and missing:
        _run(missing)
        finished = _finished()
    print_study(planned, finished, style)


def _arguments(one: Planned) -> list[str]:
    return ["--name", one.name, *(word for setting in one.settings for word in ("-S", setting)), one.until]


def _finished() -> dict[str, Experiment]:
    shown = run_dvc(["exp", "show", "--json"], capture=True)
    return {run.name: run for run in read_experiments(shown, partly_run=True).finished}


def _run(missing: Sequence[Planned]) -> None:
    failed = []
    for number, one in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {one.method.title}, seed {one.seed}", file=sys.stderr)
        try:
            run_dvc(["exp", "run", "--temp", *_arguments(one)])
        except InfoCLError as error:
            failed.append(f"{one.method.title}, seed {one.seed}: {error}")
            print(failed[-1], file=sys.stderr)
    if len(failed) == len(missing):
        raise InfoCLError(f"every experiment failed; the first: {failed[0]}")
