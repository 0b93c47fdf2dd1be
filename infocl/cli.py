"""The command line for people: `infocl check`, `infocl summary`, `infocl doctor`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from infocl.stage import guarded

app = typer.Typer(
    help="Contrastive pretraining that keeps what later tasks may need.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def check() -> None:
    """Validate params.yaml and say what it asks for."""

    def work() -> None:
        from infocl.params_file import load_params

        params = load_params()
        print(
            f"params.yaml is valid: {params.encoder.arch} on {params.data.name}, {params.objective.name} + "
            f"{params.reg.weight:g} x {params.reg.name}, {params.train.epochs} epochs, "
            f"{len(params.transfer.targets)} transfer targets."
        )

    _exit(work)


@app.command()
def summary() -> None:
    """Name what the last `dvc repro` made: accuracies, the ONNX file, the page to open."""

    def work() -> None:
        from infocl.summary import print_summary

        print_summary()

    _exit(work)


@app.command()
def doctor() -> None:
    """Say what this machine offers and whether params.yaml fits it."""

    def work() -> None:
        from infocl.doctor import print_diagnosis

        print_diagnosis()

    _exit(work)


def _exit(work: Callable[[], object]) -> None:
    sys.exit(guarded(work))


def main() -> None:
    """Entry point of the `infocl` command."""
    app()
