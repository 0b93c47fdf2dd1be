"""Commands that are Prefect flows of the project's folder, whose own --help has their options."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from infocl.cli.command import app, run_as_command
from infocl.runtime.errors import UserError

OPTIONS = "(--help: options)"
FLOWS = {
    "retrain": f"Rerun what changed, judge the new encoder, put it in service or keep the old one {OPTIONS}.",
    "rollback": f"Put the previous version of the encoder back in service {OPTIONS}.",
    "sweep": f"Run a DVC experiment for each combination of values, such as -S reg.weight=0,1 {OPTIONS}.",
    "promote": f"Put the version of the encoder that waits in staging in service {OPTIONS}.",
    "automations": f"Let the Prefect server tell people of late, missing and failed runs {OPTIONS}.",
    "clean": "Say, or remove with --yes, old checkpoints and data that no version, branch or experiment "
    "names.",
    "versions": "Print all versions of the encoder, and write them and all decisions as one page.",
}


def run_flow(context: typer.Context) -> None:
    """Become `python -m pipelines NAME`: flows belong to a project's folder, not to this package."""

    def work() -> None:
        name = str(context.command.name)
        if not Path("pipelines", "command_line.py").is_file():
            raise UserError(
                f"infocl {name} works in the project's root folder (no pipelines/ here); go there"
            )
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pipelines", name, *context.args])

    run_as_command(work, "retrain")


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
for name, meaning in FLOWS.items():
    app.command(name, help=meaning, context_settings=PASSED_ON)(run_flow)
