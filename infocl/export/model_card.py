"""The model card: what the exported encoder is, what it is good for, and what nobody knows of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from infocl.config.titles import method
from infocl.export.hub import hub_header
from infocl.results.reading import TaskResult
from infocl.runtime.text import file_size, interval, percent


def render_card(about: Mapping[str, Any]) -> str:
    """README.md of an export, from what its `encoder.json` says."""
    environment = Environment(
        loader=PackageLoader("infocl", "export"),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown: foreign text goes through the filter `plain`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "plain": plain,
        "size": file_size,
        "figure": _figure,
    }
    tasks = [(name, TaskResult.model_validate(row)) for name, row in _tasks(about)]
    return environment.get_template("model_card.md").render(
        about=about,
        header=hub_header(about, _tasks(about)),
        method=method(about["objective"], about["regularizer"], about["reg_weight"]),
        tasks=tasks,
        other_kinds=any(row.kind != "class" for _, row in tasks),
        usage=f"```python\n{usage_example(about)}\n```",
        limits=limits(row for _, row in tasks),
    )


def usage_example(about: Mapping[str, Any]) -> str:
    """A few lines of Python that embed images with onnxruntime, started beside `encoder.onnx`."""
    return "\n".join(
        [
            "import numpy as np, onnxruntime",
            "",
            'session = onnxruntime.InferenceSession("encoder.onnx")',
            f'example = np.load("{about["example"]["file"]}")',
            'for name in [name for name in example if name.startswith("images")]:',
            "    images = example[name]  # yours: images of any size, uint8, N x H x W x 3, RGB",
            '    (embedding,) = session.run(["embedding"], {"image": images})',
            '    error = np.abs(embedding - example[name.replace("images", "embeddings")]).max()',
            f"    print(images.shape, embedding.shape, error)  # (N, {about['dim']}), nearly 0",
        ]
    )


def limits(tasks: Iterable[TaskResult]) -> list[str]:
    """What the figures do not show, one sentence each."""
    of_data = dict.fromkeys(task.task.limits for task in tasks if task.task.limits)
    return [
        *of_data,
        "The figures come from one run with one seed; the intervals tell only of the draw of test images.",
        "The encoder was tried on the tasks named here and on no others; measure it on yours before use.",
    ]


def plain(text: Any) -> str:
    """Foreign text on one line, without the signs that Markdown or HTML would act on."""
    return re.sub(r"[|<>`\[\]*\\]", " ", " ".join(str(text).split()))


def _tasks(about: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    metrics = about["metrics"]
    source = [(f"{about['data']} (source)", metrics["source"])] if metrics["source"] else []
    return [*source, *metrics["transfer"].items()]


def _figure(value: float | None) -> str:
    """A small number, or a dash where there is none."""
    return "-" if value is None else f"{value:.2g}"
