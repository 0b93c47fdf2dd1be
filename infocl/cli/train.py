"""Commands for those who train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from infocl.cli.command import Engine, command
from infocl.runtime.errors import UserError


@command()
def check() -> None:
    """Validate params.yaml and say what it asks for."""
    from infocl.config.file import load_params

    params = load_params()
    print(
        f"params.yaml is valid: {params.encoder.arch} on {params.data.name}, {params.objective.name} + "
        f"{params.reg.weight:g} x {params.reg.name}, {params.train.epochs} epochs, "
        f"{len(params.transfer.tasks)} transfer targets."
    )


@command()
def summary() -> None:
    """Name what the last `dvc repro` made: accuracies, the ONNX file, the page to open."""
    from infocl.cli.summary import summary_lines

    print("\n".join(summary_lines()))


@command()
def doctor(
    images: Annotated[
        Path | None, typer.Option(help="A folder of images to look at before it is prepared.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where its contact sheet goes.")] = Path("data/doctor"),
) -> None:
    """Log what this machine offers, whether params.yaml fits it, and what a folder of images holds."""
    from infocl.cli.doctor import print_diagnosis

    print_diagnosis(images, out)


@command(lambda given: "shards,ray" if given["engine"] is Engine.ray else "shards")
def shard(
    target: Annotated[str, typer.Argument(help="A new or empty folder, or s3://bucket/prefix.")],
    prepared: Annotated[
        Path | None, typer.Option(help="The prepared data set; by default that of params.yaml.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="ray: decode data.root by the cluster that RAY_ADDRESS names.")
    ] = Engine.local,
) -> None:
    """Write images as shards, for machines whose disk does not hold them (train.shards)."""
    from infocl.config.file import load_params
    from infocl.prepared.reader import load_prepared, load_source
    from infocl.prepared.sharding import write_shards

    if engine is Engine.ray:
        from infocl.deploy.cluster.preparation import shard_on_ray

        if prepared:
            raise UserError("--engine ray reads data.root of params.yaml; leave out --prepared")
        written = shard_on_ray(load_params(), target)
    else:
        written = write_shards(
            load_prepared(prepared) if prepared else load_source(load_params().data), target
        )
    print(f"{target} holds {written.images:,} images in {len(written.shards):,} shards.")


@command()
def recipe(
    name: Annotated[str | None, typer.Argument(help="Such as cifar10-simclr-lbe; none: list all.")] = None,
    notes: Annotated[
        bool, typer.Option(help="A table instead: published, ours, source; no name: all.")
    ] = False,
    grid: Annotated[str | None, typer.Option(help="A whole table, such as paper/cifar10.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the grid; 0,1,2 when left out.")] = None,
    queue: Annotated[bool, typer.Option(help="Queue the grid with DVC, not only print it.")] = False,
) -> None:
    """List published settings, print one as overrides for `dvc exp run`, or queue a table of them."""
    from infocl.experiments.recipes.grid import parse_seeds
    from infocl.experiments.recipes.listing import (
        print_all_notes,
        print_grid,
        print_recipe,
        print_recipes,
    )

    if grid is not None and (name is not None or notes):
        raise UserError("--grid takes neither a recipe nor --notes")
    if grid is None and (queue or seeds is not None):
        raise UserError("--queue and --seeds need --grid; run one recipe: dvc exp run $(infocl recipe NAME)")
    if grid is not None:
        print_grid(grid, parse_seeds("0,1,2" if seeds is None else seeds), queue=queue)
    elif name is not None:
        try:
            print_recipe(name, notes=notes)
        except UserError:
            if not sys.stdout.isatty():
                print("--refused-by-infocl-recipe")  # stops `dvc exp run $(infocl recipe ...)` as well
            raise
    elif notes:
        print_all_notes()
    else:
        print_recipes()


@command()
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
    from infocl.experiments.table.show import print_table

    print_table(paper=paper, style=format, file=file, all_commits=all_commits)


@command()
def study(
    context: typer.Context,
    objectives: Annotated[str, typer.Option(help="Such as simclr,byol.")] = "simclr",
    regularizers: Annotated[str, typer.Option(help="Each beside the objective alone.")] = "noise,rc,lbe",
    weights: Annotated[str, typer.Option(help="Such as 0.1,1; by default each one's usual weight.")] = "",
    seeds: Annotated[str, typer.Option(help="Whole numbers; three at least allow a statement.")] = "0,1,2",
    overrides: Annotated[
        list[str] | None, typer.Option("-S", help="Of all experiments, such as -S train.epochs=20.")
    ] = None,
    new_data: Annotated[bool, typer.Option(help="Draw embedded images anew by each seed.")] = False,
    queue: Annotated[bool, typer.Option(help="Queue what is missing with DVC, do not run it.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Experiments that run at once.")] = 1,
    show: Annotated[bool, typer.Option(help="Run nothing; print what is finished.")] = False,
    format: Annotated[str, typer.Option(help="terminal, markdown or json.")] = "terminal",
    save: Annotated[
        Path | None, typer.Option(help="Write what is shown as data, each run, to this JSON.")
    ] = None,
    saved: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Show what --save wrote instead; several as one study."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw what is shown to this SVG.")] = None,
) -> None:
    """Train each regulariser on each seed as a DVC experiment, and say what the figures allow to say."""
    from infocl.experiments.recipes.grid import parse_seeds
    from infocl.experiments.study.plan import parse_names, parse_weights
    from infocl.experiments.study.run import Shown, run_study, show_saved

    if queue and show:
        raise UserError("--queue and --show exclude each other; leave one out")
    shown = Shown(format, save, figure)
    if saved:
        _require_alone("--from", context, {"saved", "format", "save", "figure", "show"})
        show_saved(saved, shown)
        return
    run_study(
        parse_names(objectives),
        parse_names(regularizers),
        parse_weights(weights),
        parse_seeds(seeds),
        overrides or [],
        new_data=new_data,
        mode="queue" if queue else "show" if show else "run",
        jobs=jobs,
        shown=shown,
    )


def _require_alone(option: str, context: typer.Context, allowed: set[str]) -> None:
    """Refuse options that have no meaning beside `option`."""
    given = [
        name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    for name in given:
        if name not in allowed:
            words = "-S" if name == "overrides" else f"--{name.replace('_', '-')}"
            raise UserError(f"{option} shows what its file holds; leave out {words}")
