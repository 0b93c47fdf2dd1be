"""Preparation: a data set as arrays on disk, the same bytes on every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from infocl.config import Params
from infocl.data.card import CARD_FILE, render_data_card
from infocl.data.decoding import ImageFiles
from infocl.data.folder.own import load_own
from infocl.data.raw import LISTED, ImageSource, RawSet, Request
from infocl.data.registry import CATALOG
from infocl.data.reuse import FILES, borrow_prepared, keep_decoded, kept_folder
from infocl.data.store import PixelStore, StoredFiles
from infocl.data.stream import ChannelStatistics, stream_images
from infocl.prepared.reader import FORMAT, META_FILE
from infocl.runtime.files import (
    replacing_folder,
    sha256_array,
    sha256_file,
    write_array,
    write_csv,
    write_json,
    write_text,
)
from infocl.runtime.paths import DECODING, PREPARED, TARGETS, raw_folder


def prepare_source(params: Params) -> dict[str, Any]:
    """Write `data/prepared/`.

    A preparation that was killed goes on where it was; files that an earlier one decoded are not decoded
    again. The result is the same, byte by byte, as from scratch.

    Raises:
        UserError: the data are missing or damaged; what was prepared before stays.
    """
    name, size = params.data.name, params.data.image_size
    with _store("source", params) as store:
        raw = raw_folder(params.data.root)
        kept = kept_folder("source", name, raw, store)
        borrow_prepared(store, kept)
        raw_set = CATALOG[name](Request(params.data, raw, store))
        with replacing_folder(PREPARED) as folder:
            meta = write_set(folder, name, raw_set, size, store)
        keep_decoded(kept, PREPARED)
    return counted(meta)


def counted(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage says of a prepared set, from its `meta.json`."""
    counts = {f"{split}_images": about["images"] for split, about in meta["splits"].items()}
    return {"data": meta["name"], "classes": len(meta["classes"] or ()), **counts}


def prepare_targets(params: Params) -> dict[str, Any]:
    """Write `data/targets/<target>/` for each of `transfer.targets`, and nothing else there.

    Targets that are attributes of the same images share one copy, in a folder of its own; files that an
    earlier preparation decoded are not decoded again.

    Raises:
        UserError: the data of a target are missing or damaged; what was prepared before stays.
    """
    size, own = params.data.image_size, params.transfer.own
    done = dict[str, int]()
    with (
        _store("targets", params) as store,
        replacing_folder(TARGETS) as parent,
    ):
        request = Request(params.data, raw_folder(params.transfer.root), store)
        names = list(params.transfer.targets)
        while names:
            name = names.pop()
            kept = kept_folder("target", name, request.raw, store)
            borrow_prepared(store, kept)
            found = load_own(name, own[name], request) if name in own else [(name, CATALOG[name](request))]
            for task, loaded in found:
                raw_set = _labelled_part(loaded)
                meta = write_set(parent / task, task, raw_set, size, store)
                done[task] = sum(about["images"] for about in meta["splits"].values())
                if raw_set.images_in and raw_set.images_in not in (*done, *names):
                    names.append(raw_set.images_in)
            keep_decoded(kept, parent / name)
    if params.transfer.foreign and params.data.name == "folder":
        print(
            f"No target is yours: {', '.join(params.transfer.targets)} are other images, and say little "
            "about tasks on yours. Describe your tasks in transfer.own (infocl/data/README.md).",
            flush=True,
        )
    tasks = params.transfer.tasks
    return {"targets": len(tasks), **{f"{task}_images": done[task] for task in tasks}}


def _store(name: str, params: Params) -> PixelStore:
    data = params.data
    return PixelStore(
        DECODING / name, data.image_size, crop=data.crop, bits=data.folder.bits, background=data.background
    )


def _labelled_part(raw_set: RawSet) -> RawSet:
    """Without images that only pretraining would use: no evaluation reads them."""
    splits = {name: split for name, split in raw_set.splits.items() if name != "pretrain"}
    return replace(raw_set, splits=splits)


def write_set(
    folder: Path, name: str, raw_set: RawSet, image_size: int, store: PixelStore, *, sharded: bool = False
) -> dict[str, Any]:
    """Write a data set's arrays, `meta.json` and card; images that lie elsewhere are not written again.

    Args:
        folder: to write to.
        name: of the set.
        raw_set: what to write.
        image_size: height and width in px.
        store: of the decoded images.
        sharded: the images that pretraining sees lie elsewhere, in shards.
    """
    seen = "pretrain" if "pretrain" in raw_set.splits else "train"
    statistics = ChannelStatistics()
    splits = {}
    for split_name, split in raw_set.splits.items():
        here = raw_set.images_in is None and not (sharded and split_name == seen)
        file = folder / split_name / "images.npy" if here else None
        see = statistics.add if split_name == seen else None
        splits[split_name] = {
            "images": len(split.images),
            "labelled": split.labels is not None,
            "images_sha256": stream_images(_kept(split.images, store), image_size, file, see),
            "labels_sha256": None if split.labels is None else sha256_array(split.labels),
        }
        if split.labels is not None:
            write_array(folder / split_name / "labels.npy", split.labels)
        if split.listing is not None:
            listing = folder / split_name / FILES
            write_csv(listing, LISTED, split.listing())
            splits[split_name]["files_sha256"] = sha256_file(listing)
    meta = {
        "format": FORMAT,
        "name": name,
        "classes": raw_set.classes,
        "image_size": image_size,
        "crop": store.crop,
        **statistics.result(),
        "source": raw_set.source,
        "licence": raw_set.licence,
        "source_sha256": raw_set.source_sha256,
        "splits": splits,
        "images_in": raw_set.images_in,
        **raw_set.about,
    }
    write_json(folder / META_FILE, meta)
    write_text(folder / CARD_FILE, render_data_card(meta, raw_set))
    return meta


def _kept(images: ImageSource, store: PixelStore) -> ImageSource:
    """Images of files by way of the store, so that a rerun decodes only the rest."""
    return StoredFiles(images, store) if isinstance(images, ImageFiles) else images
