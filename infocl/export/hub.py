"""The header of the model card: the YAML that Hugging Face's hub and its like read."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from infocl.config import TaskKind
from infocl.results.scores import KINDS, kind_of, show_interval

# Identifiers that the hub takes as they are, of https://huggingface.co/docs/hub/repositories-licenses
LICENCES = {
    *("unknown", "other", "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "mpl-2.0"),
    *("gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl-2.1", "lgpl-3.0", "eupl-1.1", "openrail", "ecl-2.0"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
    *("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
}

# Pipelines of the hub, and their names here.
TASKS: dict[TaskKind, tuple[str, str]] = {
    "class": ("image-classification", "Classification"),
    "labels": ("image-classification", "Classification by several labels"),
    "number": ("other", "Regression"),
}


def hub_header(about: Mapping[str, Any], tasks: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The header of an export, without its `---` lines.

    Args:
        about: what `encoder.json` says.
        tasks: names and figures of the source and of the targets.
    """
    names = (about["objective"], about["regularizer"], about["encoder"]["arch"], about["data"])
    header = {
        "library_name": "onnx",
        **_licence(about["licence"]),
        "pipeline_tag": "image-feature-extraction",
        "tags": ["infocl", "contrastive-learning", "representation-learning", "onnxruntime", "timm", *names],
        "datasets": [_identifier(about["data"])],
        "metrics": list(dict.fromkeys(KINDS[kind_of(row)].key for _, row in tasks)),
        "model-index": [
            {
                "name": "-".join(["infocl", *map(_identifier, names)]),
                "results": [_result(name, row) for name, row in tasks],
            }
        ],
    }
    yaml, text = YAML(), io.StringIO()
    yaml.width = 1000  # no text is broken into lines
    yaml.dump(header, text)
    return text.getvalue().rstrip()


def _licence(name: str) -> dict[str, str]:
    """The licence as an identifier of the hub, or as another one by its name."""
    known = name.lower() in LICENCES
    return {"license": name.lower()} if known else {"license": "other", "license_name": name.lower()}


def _result(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    kind, words = TASKS[kind_of(row)], KINDS[kind_of(row)]
    low, high = row[f"{words.key}_ci95"]
    return {
        "task": {"type": kind[0], "name": f"{kind[1]} of frozen features"},
        "dataset": {"type": _identifier(name.removesuffix(" (source)")), "name": name, "split": "test"},
        "metrics": [
            {
                "type": words.key,
                "value": row[words.key],
                "name": f"Linear probe (95 % interval {show_interval(kind_of(row), (low, high))})",
                "args": {"ci95_low": low, "ci95_high": high, "test_images": row["test_images"]},
            },
            {"type": words.key, "value": row[f"knn_{words.key}"], "name": "Nearest neighbours"},
        ],
    }


def _identifier(text: Any) -> str:
    """A name as the hub writes those of data sets."""
    return re.sub(r"[^a-z0-9._]+", "-", str(text).lower()).strip("-.") or "unnamed"
