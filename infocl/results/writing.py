"""What a stage found out, in two files: the few figures that people compare, and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS, METRICS

# By stage, the figures that `dvc metrics diff` and `dvc exp show` list, as dotted keys; `*` is any one key.
# A stage that is not named here has details alone.
COMPARED: dict[str, tuple[str, ...]] = {
    "prepare": ("data", "classes", "train_images", "test_images"),
    "pretrain": ("images_per_second", "loss", "objective", "regularizer", "epochs", "device"),
    "probe": ("accuracy", "accuracy_ci95", "knn_accuracy", "rankme"),
    "transfer": ("*.accuracy", "*.mean_average_precision", "*.r2", "*.rmse", "mean_accuracy"),
    "compare": ("*.raw", "*.untrained", "*.imported", "*.plain", "*.regularised", "*.difference"),
    "audit": ("*.plain", "*.regularised"),
    "export": ("max_abs_error", "cosine_min", "bytes"),
    "detection": ("boxes.*", "masks.*"),
}


def write_results(stage: str, found: Mapping[str, Any]) -> None:
    """Write all that a stage found out as details, and what people compare as metrics.

    Other stages read the details alone, so a change of `COMPARED` makes no result stale.
    """
    write_json(DETAILS / f"{stage}.json", found)
    if stage in COMPARED:
        write_json(METRICS / f"{stage}.json", _only(COMPARED[stage], found))


def _only(patterns: tuple[str, ...], found: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in found.items():
        split = [pattern.partition(".") for pattern in patterns]
        matching = [(dot, rest) for first, dot, rest in split if fnmatchcase(key, first)]
        if isinstance(value, Mapping):
            if below := _only(tuple(rest for dot, rest in matching if dot), value):
                kept[key] = below
        elif any(not dot for dot, _ in matching):
            kept[key] = value
    return kept
