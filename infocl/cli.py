"""The command line for people: `infocl check`, `summary`, `recipe`, `table`, `doctor`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from infocl.errors import UserError
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
def doctor(
    images: Annotated[
        Path | None, typer.Option(help="A folder of images to look at before it is prepared.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where its contact sheet goes.")] = Path("data/doctor"),
) -> None:
    """Say what this machine offers, whether params.yaml fits it, and what a folder of images holds."""

    def work() -> None:
        from infocl.doctor import print_diagnosis

        print_diagnosis(images, out)

    _exit(work)


@app.command()
def recipe(
    name: Annotated[str | None, typer.Argument(help="Such as cifar10-simclr-lbe; none: list all.")] = None,
    notes: Annotated[bool, typer.Option(help="Its source and what deliberately differs instead.")] = False,
    grid: Annotated[str | None, typer.Option(help="A whole table, such as paper/cifar10.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the grid; 0,1,2 when left out.")] = None,
    queue: Annotated[bool, typer.Option(help="Queue the grid with DVC, not only print it.")] = False,
) -> None:
    """List published settings, print one as overrides for `dvc exp run`, or queue a table of them."""

    def work() -> None:
        from infocl.recipes.grid import parse_seeds
        from infocl.recipes.listing import print_grid, print_recipe, print_recipes

        if grid is not None and (name is not None or notes):
            raise UserError("--grid takes neither a recipe nor --notes")
        if grid is None and (queue or seeds is not None):
            raise UserError(
                "--queue and --seeds need --grid; run one recipe: dvc exp run $(infocl recipe NAME)"
            )
        if notes and name is None:
            raise UserError("--notes needs a recipe; infocl recipe lists them")
        if grid is not None:
            print_grid(grid, parse_seeds("0,1,2" if seeds is None else seeds), queue=queue)
        elif name is not None:
            try:
                print_recipe(name, notes=notes)
            except UserError:
                if not sys.stdout.isatty():
                    print("--refused-by-infocl-recipe")  # stops `dvc exp run $(infocl recipe ...)` as well
                raise
        else:
            print_recipes()

    _exit(work)


@app.command()
def table(
    paper: Annotated[
        str | None, typer.Option(help="Put published figures beside: cifar10, stl10 or imagenet.")
    ] = None,
    format: Annotated[str, typer.Option(help="terminal, markdown or csv.")] = "terminal",
    file: Annotated[
        Path | None, typer.Option(help="Saved output of `dvc exp show --json` to read instead; - is stdin.")
    ] = None,
    all_commits: Annotated[bool, typer.Option(help="Experiments of every commit.")] = False,
) -> None:
    """Print finished experiments as a table: accuracies, differences to plain, intervals over seeds."""

    def work() -> None:
        from infocl.table.show import print_table

        print_table(paper=paper, style=format, file=file, all_commits=all_commits)

    _exit(work)


def _exit(work: Callable[[], object]) -> None:
    sys.exit(guarded(work))


def main() -> None:
    """Entry point of the `infocl` command."""
    app()
