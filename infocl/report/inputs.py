"""Everything the report reads, checked to come from one and the same run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.config import Params
from infocl.prepared.reader import Prepared, load_prepared, load_source
from infocl.report.left import Left, read_left
from infocl.report.pictures import Sheet, read_sheet
from infocl.results.audit import AuditResult, read_audit
from infocl.results.card import CARD_FILE
from infocl.results.comparison import SOURCE, CompareResult, read_compare
from infocl.results.reading import (
    ExportResult,
    ProbeResult,
    StageCost,
    TransferResult,
    read_cost,
    read_export,
    read_probe,
    read_transfer,
)
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json
from infocl.runtime.paths import CONFIG_FILE, EXPORT, PRETRAIN, TARGETS, rerun

STAGES = ("prepare", "targets", "pretrain", "plain", "probe", "transfer", "compare", "audit", "export")
CONFIG_KEYS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("objective", "regularizer", "version", "params_sha256", "weights_sha256"), str),
    **dict.fromkeys(("epochs", "seed"), int),
    "reg_weight": (int, float),
    "encoder": dict,
}
ABOUT_KEYS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("input", "output", "parity", "variants", "example"), dict),
    **dict.fromkeys(("onnx_sha256", "weights_sha256"), str),
    **dict.fromkeys(("opset", "dim"), int),
}
NEEDED_COLUMNS = ("step", "epoch", "loss", "objective", "regularizer")

History = dict[str, npt.NDArray[np.float64]]


class Attribute(NamedTuple):
    """Something that is known of every test image: its name, labels (N,), and the classes by label."""

    name: str
    labels: npt.NDArray[np.int64]
    classes: list[str]


@dataclass(frozen=True)
class Inputs:
    """One run as its files tell it."""

    params: Params
    config: Mapping[str, Any]
    data: Prepared
    history: History
    views: Sheet
    left: Left
    attributes: Mapping[str, Attribute]
    probe: ProbeResult
    transfer: TransferResult
    compared: CompareResult
    audited: AuditResult
    export: ExportResult
    about: Mapping[str, Any]
    costs: Mapping[str, StageCost]


def read_inputs(params: Params) -> Inputs:
    """Read all files of the run.

    Raises:
        UserError: a file is missing, damaged, or of another run; the message names the file and the
            stage to run again.
    """
    config = _read_complete(PRETRAIN / CONFIG_FILE, CONFIG_KEYS, rerun("pretrain", PRETRAIN))
    data = load_source(params.data, params.train.shards)
    about = _read_complete(EXPORT / CARD_FILE, ABOUT_KEYS, rerun("export", EXPORT))
    if about.get("weights_sha256") != config.get("weights_sha256"):
        raise UserError(
            f"{EXPORT / CARD_FILE} describes another encoder than {PRETRAIN}; {rerun('export', EXPORT)}"
        )
    transfer = read_transfer()
    return Inputs(
        params=params,
        config=config,
        data=data,
        history=read_history(PRETRAIN / "history.csv"),
        views=read_sheet(PRETRAIN / "views.npy", rerun("pretrain", PRETRAIN)),
        left=read_left(data, config["weights_sha256"]),
        attributes=_attributes(data, transfer),
        probe=read_probe(),
        transfer=transfer,
        compared=read_compare(),
        audited=read_audit(),
        export=read_export(),
        about=about,
        costs={stage: read_cost(stage) for stage in STAGES},
    )


def _attributes(data: Prepared, transfer: TransferResult) -> dict[str, Attribute]:
    """What is known of the test images: their classes, and targets that ask of the same images."""
    test = data.split("test")
    found = {}
    if test.labels is not None and data.classes is not None:
        found[SOURCE] = Attribute("class", test.labels, data.classes)
    for name, result in transfer.targets.items():
        if result.kind == "class" and result.test_images_sha256 == test.images_sha256:
            target = load_prepared(TARGETS / name)
            labels, classes = target.labels("test"), target.classes
            if labels is not None and classes is not None and len(labels) == len(test):
                found[name] = Attribute(name, labels, classes)
    return found


def read_history(path: Path) -> History:
    """The columns of history.csv.

    Raises:
        UserError: the file is missing, empty, lacks a column, or holds what is no number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            names, *rows = csv.reader(stream)
        table = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {rerun('pretrain', PRETRAIN)}") from None
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); {rerun('pretrain', PRETRAIN)}") from None
    lacking = [name for name in NEEDED_COLUMNS if name not in names]
    if lacking or not len(table):
        what = f"lacks the column {lacking[0]}" if lacking else "has no rows"
        raise UserError(f"{path} {what}; {rerun('pretrain', PRETRAIN)}")
    return dict(zip(names, table.T, strict=True))


def _read_complete(path: Path, keys: Mapping[str, type | tuple[type, ...]], hint: str) -> dict[str, Any]:
    """A JSON object that has these keys, with values of these types."""
    value = read_json(path, hint)
    for key, kind in keys.items():
        if not isinstance(value.get(key), kind):
            raise UserError(f"{path} lacks a usable {key}; {hint}")
    return value
