"""Commands for users of an exported encoder, who have no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infocl.cli.command import Engine, command
from infocl.runtime.paths import EXPORT

DRIFTED = 3  # exit code of `infocl drift`
Folder = Annotated[Path, typer.Argument(help="The exported folder.")]
Encoder = Annotated[Path, typer.Option(help="The exported folder.")]
Images = Annotated[list[str], typer.Argument(help="Images, folders, patterns, or .txt lists of images.")]
Variant = Annotated[str, typer.Option(help="float32, float16 or int8, where shipped.")]
Signers = Annotated[
    Path | None,
    typer.Option(help="File of allowed signers, as ssh-keygen reads it; the folder must be signed by one."),
]


@command(lambda given: "ray" if given["engine"] is Engine.ray else "embed")
def embed(
    images: Images,
    output: Annotated[
        str, typer.Option("-o", "--output", help="The Parquet file to write; a folder or bucket with ray.")
    ],
    encoder: Encoder = EXPORT,
    variant: Variant = "float32",
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


@command("embed")
def drift(
    images: Images,
    encoder: Encoder = EXPORT,
    false_alarms: Annotated[
        float, typer.Option(help="Share of checks of images of the known kind that may report drift.")
    ] = 0.01,
    newest: Annotated[int | None, typer.Option(help="Only so many files, those changed last.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
    signers: Signers = None,
) -> None:
    """Tell whether images look like those that the encoder was measured on; exit code 3: they do not."""
    from infocl.deploy.drift import find_drift
    from infocl.deploy.inputs import find_images, newest_files

    files = newest_files(find_images(images), newest)
    found = find_drift(files, encoder, false_alarms=false_alarms, signers=signers)
    print(json.dumps(asdict(found)) if as_json else found.line, flush=True)
    if found.drift:
        sys.exit(DRIFTED)


@command(lambda given: "search" if given["index"] else "embed")
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
    from infocl.deploy.search import print_nearest

    print_nearest(images or [], table, count=count, index=index, page=page, encoder=encoder, signers=signers)


@command("embed")
def verify(
    folder: Folder = EXPORT,
    signers: Signers = None,
) -> None:
    """Check an exported folder: sums, signature, metadata, and its example; needs no torch."""
    from infocl.deploy.verify import verify_folder

    verify_folder(folder, signers)


@command("serve")
def serve(
    folder: Folder = EXPORT,
    variant: Variant = "float32",
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
    from infocl.deploy.serve import serve_folder
    from infocl.deploy.serving.limits import Limits

    limits = Limits(max_bytes, max_pixels, max_batch, timeout, max_waiting)
    serve_folder(folder, variant, host=host, port=port, grpc_port=grpc_port, signers=signers, limits=limits)


@command("embed")
def triton(
    folder: Folder,
    repository: Annotated[Path, typer.Argument(help="The model repository to write or add to.")],
    variant: Variant = "float32",
    signers: Signers = None,
) -> None:
    """Lay an exported encoder out as a model of a Triton model repository; needs no torch."""
    from infocl.deploy.triton import write_repository

    write_repository(folder, repository, variant, signers)
