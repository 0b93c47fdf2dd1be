"""The command line: for those who train, and for users of an export, who have no torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from infocl.runtime.console import ending_with_its_pipe, open_streams
from infocl.runtime.errors import UserError, guarded
from infocl.runtime.paths import EXPORT

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
        from infocl.config.file import load_params

        params = load_params()
        print(
            f"params.yaml is valid: {params.encoder.arch} on {params.data.name}, {params.objective.name} + "
            f"{params.reg.weight:g} x {params.reg.name}, {params.train.epochs} epochs, "
            f"{len(params.transfer.tasks)} transfer targets."
        )

    _exit(work)


@app.command()
def summary() -> None:
    """Name what the last `dvc repro` made: accuracies, the ONNX file, the page to open."""

    def work() -> None:
        from infocl.cli.summary import print_summary

        print_summary()

    _exit(work)


@app.command()
def doctor(
    images: Annotated[
        Path | None, typer.Option(help="A folder of images to look at before it is prepared.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where its contact sheet goes.")] = Path("data/doctor"),
) -> None:
    """Log what this machine offers, whether params.yaml fits it, and what a folder of images holds."""

    def work() -> None:
        from infocl.cli.doctor import print_diagnosis

        print_diagnosis(images, out)

    _exit(work)


@app.command()
def shard(
    target: Annotated[str, typer.Argument(help="A new or empty folder, or s3://bucket/prefix.")],
    prepared: Annotated[
        Path | None, typer.Option(help="The prepared data set; by default that of params.yaml.")
    ] = None,
) -> None:
    """Write the prepared images as shards, for machines whose disk does not hold them (train.shards)."""

    def work() -> None:
        from infocl.config.file import load_params
        from infocl.prepared.reader import load_prepared, load_source
        from infocl.pretrain.loading.shards import write_shards

        images = load_prepared(prepared) if prepared else load_source(load_params().data)
        written = write_shards(images, target)
        print(f"{target} holds {written.images:,} images in {len(written.shards):,} shards.")

    _exit(work, extra="shards")


@app.command()
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

    def work() -> None:
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
            raise UserError(
                "--queue and --seeds need --grid; run one recipe: dvc exp run $(infocl recipe NAME)"
            )
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
        from infocl.experiments.table.show import print_table

        print_table(paper=paper, style=format, file=file, all_commits=all_commits)

    _exit(work)


@app.command()
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

    def work() -> None:
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
            shown=shown,
        )

    _exit(work)


def _require_alone(option: str, context: typer.Context, allowed: set[str]) -> None:
    """Refuse options that have no meaning beside `option`."""
    given = [
        name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    for name in given:
        if name not in allowed:
            words = "-S" if name == "overrides" else f"--{name.replace('_', '-')}"
            raise UserError(f"{option} shows what its file holds; leave out {words}")


Signers = Annotated[
    Path | None,
    typer.Option(help="File of allowed signers, as ssh-keygen reads it; the folder must be signed by one."),
]


class Engine(StrEnum):
    """What runs `infocl embed`."""

    local = "local"
    ray = "ray"


@app.command()
def embed(
    images: Annotated[list[str], typer.Argument(help="Images, folders, patterns, or .txt lists of images.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="The Parquet file to write; a folder or bucket with ray.")
    ],
    encoder: Annotated[Path, typer.Option(help="The exported folder.")] = EXPORT,
    variant: Annotated[str, typer.Option(help="float32, float16 or int8, where shipped.")] = "float32",
    strict: Annotated[bool, typer.Option(help="Refuse files that cannot be read, not skip them.")] = False,
    signers: Signers = None,
    engine: Annotated[
        Engine, typer.Option(help="ray: by the cluster that RAY_ADDRESS names.")
    ] = Engine.local,
    actors: Annotated[
        int | None, typer.Option(help="Processes of ray; else one for each CPU.", min=1)
    ] = None,
    part: Annotated[int, typer.Option(help="Images in each file that ray writes.", min=1)] = 4096,
) -> None:
    """Write the embeddings of images as a Parquet table; needs no torch."""

    def work() -> None:
        if engine is Engine.ray:
            from infocl.deploy.cluster.engine import embed_on_ray

            embed_on_ray(
                images,
                output,
                encoder=encoder,
                variant=variant,
                strict=strict,
                signers=signers,
                actors=actors,
                part=part,
            )
            return
        from infocl.deploy.embed import embed_files
        from infocl.deploy.inputs import find_images

        files = find_images(images)
        embed_files(files, Path(output), encoder=encoder, variant=variant, strict=strict, signers=signers)

    _exit(work, extra="ray" if engine is Engine.ray else "embed")


DRIFTED = 3  # exit code of `infocl drift`


@app.command()
def drift(
    images: Annotated[list[str], typer.Argument(help="Images, folders, patterns, or .txt lists of images.")],
    encoder: Annotated[Path, typer.Option(help="The exported folder.")] = EXPORT,
    false_alarms: Annotated[
        float, typer.Option(help="Share of checks of images of the known kind that may report drift.")
    ] = 0.01,
    newest: Annotated[int | None, typer.Option(help="Only so many files, those changed last.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
    signers: Signers = None,
) -> None:
    """Tell whether images look like those that the encoder was measured on; exit code 3: they do not."""

    def work() -> None:
        from infocl.deploy.drift import find_drift
        from infocl.deploy.inputs import find_images, newest_files

        files = newest_files(find_images(images), newest)
        found = find_drift(files, encoder, false_alarms=false_alarms, signers=signers)
        print(json.dumps(found.as_json()) if as_json else found.line, flush=True)
        if found.drift:
            sys.exit(DRIFTED)

    _exit(work, extra="embed")


@app.command()
def search(
    table: Annotated[
        Path, typer.Option("--in", help="The Parquet file, or a folder of them, of infocl embed.")
    ],
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Paths in the table, or image files; none: rows spread over the table."),
    ] = None,
    count: Annotated[int, typer.Option("-k", help="Neighbours of each.", min=1, max=1000)] = 10,
    index: Annotated[
        Path | None, typer.Option(help="Folder of an index to search instead of all rows; built if missing.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="HTML file that shows the neighbours.")] = None,
    encoder: Annotated[Path, typer.Option(help="The exported folder, for images not in the table.")] = EXPORT,
    signers: Signers = None,
) -> None:
    """Print the embedded images that are nearest to an image, by cosine; needs no torch."""

    def work() -> None:
        from infocl.deploy.search import print_nearest

        print_nearest(
            images or [], table, count=count, index=index, page=page, encoder=encoder, signers=signers
        )

    _exit(work, extra="search" if index else "embed")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The exported folder.")] = EXPORT,
    signers: Signers = None,
) -> None:
    """Check an exported folder: sums, signature, metadata, and its example; needs no torch."""

    def work() -> None:
        from infocl.deploy.verify import verify_folder

        verify_folder(folder, signers)

    _exit(work, extra="embed")


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="The exported folder.")] = EXPORT,
    variant: Annotated[str, typer.Option(help="float32, float16 or int8, where shipped.")] = "float32",
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 opens the port to every network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of HTTP.", min=1, max=65535)] = 8080,
    grpc_port: Annotated[int | None, typer.Option(help="Of gRPC; off without.", min=1, max=65535)] = None,
    signers: Signers = None,
    max_bytes: Annotated[int, typer.Option(help="Of a request's body.", min=1)] = 32 << 20,
    max_pixels: Annotated[
        int,
        typer.Option(help="Height x width x images of a request.", min=1),
    ] = 8 << 20,
    max_batch: Annotated[int, typer.Option(help="Images of a request.", min=1)] = 64,
    timeout: Annotated[
        float, typer.Option(help="Seconds for a request to arrive and to be answered.", min=1)
    ] = 30,
    max_waiting: Annotated[
        int, typer.Option(help="Requests at once; others are told to ask later.", min=1)
    ] = 256,
) -> None:
    """Serve an exported encoder over the Open Inference Protocol V2 (HTTP, gRPC); needs no torch."""

    def work() -> None:
        from infocl.deploy.serve import serve_folder
        from infocl.deploy.serving.limits import Limits

        limits = Limits(max_bytes, max_pixels, max_batch, timeout, max_waiting)
        serve_folder(
            folder, variant, host=host, port=port, grpc_port=grpc_port, signers=signers, limits=limits
        )

    _exit(work, extra="serve")


@app.command()
def triton(
    folder: Annotated[Path, typer.Argument(help="The exported folder.")],
    repository: Annotated[Path, typer.Argument(help="The model repository to write or add to.")],
    variant: Annotated[str, typer.Option(help="float32, float16 or int8, where shipped.")] = "float32",
    signers: Signers = None,
) -> None:
    """Lay an exported encoder out as a model of a Triton model repository; needs no torch."""

    def work() -> None:
        from infocl.deploy.triton import write_repository

        write_repository(folder, repository, variant, signers)

    _exit(work, extra="embed")


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def retrain(context: typer.Context) -> None:
    """Rerun what changed, judge the new encoder, put it in service or keep the old one (--help: options)."""
    _exit(lambda: _flow("retrain", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def rollback(context: typer.Context) -> None:
    """Put the previous version of the encoder back in service (--help: options)."""
    _exit(lambda: _flow("rollback", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def sweep(context: typer.Context) -> None:
    """Run a DVC experiment for each combination of values, such as -S reg.weight=0,1 (--help: options)."""
    _exit(lambda: _flow("sweep", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def promote(context: typer.Context) -> None:
    """Put the version of the encoder that waits in staging in service (--help: options)."""
    _exit(lambda: _flow("promote", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def automations(context: typer.Context) -> None:
    """Let the Prefect server tell people of late, missing and failed runs (--help: options)."""
    _exit(lambda: _flow("automations", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def clean(context: typer.Context) -> None:
    """Say, or remove with --yes, old checkpoints and data that no version, branch or experiment names."""
    _exit(lambda: _flow("clean", context.args), extra="retrain")


@app.command(context_settings=PASSED_ON)
def versions(context: typer.Context) -> None:
    """Print all versions of the encoder, and write them and all decisions as one page."""
    _exit(lambda: _flow("versions", context.args), extra="retrain")


def _flow(name: str, arguments: list[str]) -> None:
    """Become `python -m pipelines NAME`: flows belong to a project's folder, not to this package."""
    if not Path("pipelines", "command_line.py").is_file():
        raise UserError(f"infocl {name} works in the project's root folder (no pipelines/ here); go there")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pipelines", name, *arguments])


def _exit(work: Callable[[], object], extra: str = "train") -> None:
    """Run a command; `extra` is the optional set of packages that it is made of."""

    def installed() -> None:
        try:
            work()
        except ModuleNotFoundError as error:
            raise UserError(
                f"this command needs {error.name}, which is not installed: pip install 'infocl[{extra}]'"
            ) from None

    code = guarded(lambda: ending_with_its_pipe(installed))
    ending_with_its_pipe(sys.stdout.flush)
    sys.exit(code)


def main() -> None:
    """Entry point of the `infocl` command."""
    open_streams()
    app()
