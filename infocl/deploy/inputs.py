"""Which files a person means: images, folders, patterns and lists of them."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from infocl.data.layouts import images_below
from infocl.errors import UserError

LIST_SUFFIX = ".txt"


def find_images(arguments: Sequence[str]) -> list[Path]:
    """The image files meant by the arguments, each once, in order.

    Args:
        arguments: each an image; a folder, searched with its subfolders but not hidden ones; a pattern
            such as "photos/**/*.jpg"; or a `.txt` file that lists images, one a line.

    Raises:
        UserError: an argument leads to nothing.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        found.update(dict.fromkeys(_meant(argument)))
    return list(found)


def _meant(argument: str) -> Iterable[Path]:
    path = Path(argument)
    if path.is_dir():
        below = sorted(map(Path, images_below(path)))
        return _or_refuse(below, f"{path} holds no images; name another folder")
    if path.is_file():
        return _listed(path) if path.suffix.lower() == LIST_SUFFIX else [path]
    if glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - absolute patterns as well
        return _or_refuse(
            filter(Path.is_file, map(Path, names)), f"no file matches {argument}; mend the pattern"
        )
    raise UserError(f"{path} does not exist; name an image, a folder, a pattern or a list of images")


def _listed(path: Path) -> Iterable[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError:
        raise UserError(f"{path} is not text in UTF-8; save it as such, one image a line") from None
    return _or_refuse((Path(line) for line in lines if line.strip()), f"{path} lists no images; add some")


def _or_refuse(paths: Iterable[Path], message: str) -> list[Path]:
    found = list(paths)
    if not found:
        raise UserError(message)
    return found
