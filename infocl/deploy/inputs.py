"""Which files a person means: images, folders, patterns and lists of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from infocl.data.decoding import SUFFIXES
from infocl.runtime.errors import UserError

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


def newest_files(files: Sequence[Path], count: int | None) -> list[Path]:
    """Those `count` files that were changed last, in the given order; None: all of them."""
    if count is None:
        return list(files)
    times = {path: path.stat().st_mtime if path.exists() else 0.0 for path in files}
    kept = set(sorted(files, key=times.__getitem__, reverse=True)[:count])
    return [path for path in files if path in kept]


def _meant(argument: str) -> Iterable[Path]:
    path = Path(argument)
    if path.is_dir():
        below = sorted(_below(path))
        return _or_refuse(below, f"{path} holds no images; name another folder")
    if path.exists():
        return _listed(path) if path.suffix.lower() == LIST_SUFFIX and path.is_file() else [path]
    if glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - absolute patterns as well
        files = (path for path in map(Path, names) if not path.is_dir())
        return _or_refuse(files, f"no file matches {argument}; correct the pattern")
    raise UserError(f"{path} does not exist; name an image, a folder, a pattern or a list of images")


def _below(folder: Path) -> Iterator[Path]:
    """All that is named as an image; pipes and dangling links too, which are skipped with a message later."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES:
                yield path


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
