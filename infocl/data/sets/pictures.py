"""Published sets of image files: read through the store of decoded images, as any folder of images is."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from infocl.data.folder.layouts import Entry
from infocl.data.folder.survey import Survey
from infocl.data.raw import RawSet, Request
from infocl.data.sets.fetch import Remote, obtain, require_all
from infocl.runtime.errors import UserError

TEST_SHARE, SPLIT_SEED = 0.2, 0  # of each class, of sets that are published without a split


class Published(NamedTuple):
    """What is published of a set of image files.

    Attributes:
        name: the set's name here.
        remotes: its files.
        images: how many, by split (None: published without one); empty where any number will do.
        source: where the images come from, for people.
        licence: of the images.
    """

    name: str
    remotes: tuple[Remote, ...]
    images: Mapping[str | None, int]
    source: str
    licence: str


class Listing(NamedTuple):
    """Image files below a folder; `classes` are in the order that the entries' labels sort in."""

    root: Path
    entries: Iterable[Entry]
    classes: list[str]


def label(index: int) -> str:
    """The label of an entry of the class of that number: such labels sort as the numbers do."""
    return f"{index:04}"


def listed(root: Path, part: str, files: Sequence[Path | str], labels: Sequence[int]) -> Iterator[Entry]:
    """Entries of one split from the lists that torchvision makes."""
    for file, index in zip(files, labels, strict=True):
        yield Entry(Path(file).relative_to(root).as_posix(), part, label(index))


def load_pictures(request: Request, about: Published, read: Callable[[Path], Listing]) -> RawSet:
    """A published set, its files obtained, listed by `read` and looked at.

    Args:
        request: with a store.
        about: the set.
        read: lists the files below the folder of raw files.

    Raises:
        UserError: a file is missing or damaged, or the lists are not the published ones.
    """
    obtain(about.name, request.raw, about.remotes)
    try:
        listing = read(request.raw)
        entries = list(listing.entries)
    except (OSError, ValueError, LookupError, RuntimeError, csv.Error) as error:
        why = " ".join(str(error).split())
        raise UserError(
            f"the lists of data set {about.name} cannot be read ({why}); remove {_unpacked(about, request)} "
            "to have it unpacked again"
        ) from None
    require_all((listing.root / entry.name for entry in entries), _unpacked(about, request))
    return look_through(request, about, listing._replace(entries=entries))


def _unpacked(about: Published, request: Request) -> str:
    return " and ".join(str(remote.place(request.raw)) for remote in about.remotes)


def look_through(request: Request, about: Published, listing: Listing) -> RawSet:
    """Decode the listed files, in parallel and in memory that their number does not change.

    Raises:
        UserError: a file is missing or damaged, or there are not as many as were published.
    """
    if request.store is None:
        raise ValueError("image files are read through a store of decoded images")
    survey = Survey(listing.root, listing.entries, request.store)
    _require_whole(survey, about, listing)
    survey.look()
    kinds = survey.kinds()
    if kinds:
        first = next(survey.rejected())
        raise UserError(
            f"{listing.root / first.name} {first.reason}; {sum(kinds.values())} of {survey.files} files of "
            f"data set {about.name} are of no use; replace them"
        )
    survey.split(TEST_SHARE, SPLIT_SEED)
    return RawSet(
        classes=listing.classes,
        source=about.source,
        licence=about.licence,
        source_sha256=survey.source_sha256(with_labels=True),
        splits=survey.splits(),
        about={"decoder": request.store.decoder},
    )


def _require_whole(survey: Survey, about: Published, listing: Listing) -> None:
    """Before anything is decoded, which may take hours."""
    found = survey.parts()
    if about.images and found != about.images:
        raise UserError(
            f"data set {about.name} in {listing.root} has {_counted(found)}, not {_counted(about.images)}; "
            "get its files anew"
        )
    classes = survey.classes() or []
    if len(classes) != len(listing.classes):
        raise UserError(
            f"data set {about.name} in {listing.root} has images of {len(classes)} classes, not "
            f"{len(listing.classes)}; get its files anew"
        )


def _counted(images: Mapping[str | None, int]) -> str:
    return " and ".join(
        f"{count:,} {f'{part} images' if part else 'images'}" for part, count in images.items()
    )
