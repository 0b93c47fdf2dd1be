"""A page of images beside their nearest neighbours; it needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from PIL import Image

from infocl.data.decoding import Images
from infocl.deploy.embed import decoded
from infocl.deploy.table import EmbeddingTable
from infocl.runtime.errors import UserError
from infocl.runtime.files import write_text

if TYPE_CHECKING:
    from infocl.deploy.search import Neighbour

SIDE = 192  # of a picture at most, in px
SMALL = 64  # up to this side a picture is enlarged pixel by pixel


def write_page(
    page: Path, found: Mapping[str, Sequence[Neighbour]], table: EmbeddingTable, *, exact: bool
) -> None:
    """Write the queries and their neighbours as one HTML file with the pictures inside.

    An image that is not there any more, not readable or not on this machine, is a grey square with its name.
    """
    how = "all rows were compared" if exact else "found by an index, which may miss some"
    about = (
        f"Cosine of the embeddings among the {table.rows:,} images of {table.place}; {how}. "
        f"Encoder {table.about['encoder_sha256'][:12]}, {table.about['variant']}."
    )
    paths = dict.fromkeys([*found, *(path for near in found.values() for path, _ in near)])
    pictures = {path: _picture(path, image) for path, image in decoded([Path(path) for path in paths])}
    rows = []
    for query, neighbours in found.items():
        captioned = [(query, "query"), *((path, f"{cosine:.3f}") for path, cosine in neighbours)]
        figures = "".join(_figure(path, caption, pictures[path]) for path, caption in captioned)
        rows.append(f'<section class="row">{figures}</section>')
    template = Template(files("infocl.deploy").joinpath("neighbours.html").read_text(encoding="utf-8"))
    write_text(page, template.substitute(about=escape(about), rows="\n".join(rows)))


def _figure(path: str, caption: str, picture: str) -> str:
    return (
        f'<figure title="{escape(path)}">{picture}'
        f"<figcaption>{caption}<br>{escape(Path(path).name)}</figcaption></figure>"
    )


def _picture(path: str, image: Images | UserError) -> str:
    """The middle square, which is what the encoder sees."""
    if isinstance(image, UserError):
        return '<span class="absent">not here</span>'
    picture, stream = Image.fromarray(image), io.BytesIO()
    small = len(image) <= SMALL
    picture.thumbnail((SIDE, SIDE))
    kind = "PNG" if small else "JPEG"
    picture.save(stream, kind)
    data = base64.b64encode(stream.getvalue()).decode()
    shown = ' class="small"' if small else ""
    return f'<img{shown} alt="{escape(path)}" src="data:image/{kind.lower()};base64,{data}">'
