"""What a finished run made, in a few lines for the terminal."""

from __future__ import annotations

from infocl.config.titles import method
from infocl.results.audit import read_audit
from infocl.results.card import CARD_FILE, ONNX_FILE, parse_card
from infocl.results.comparison import TITLES_OF_KINDS, CompareResult, read_compare
from infocl.results.reading import TransferResult, read_export, read_probe, read_transfer
from infocl.results.scores import KINDS
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT, REPORT, rerun
from infocl.runtime.text import counted, file_size, interval, percent

COLUMNS = ("raw", "untrained", "imported", "plain", "regularised")


def summary_lines() -> list[str]:
    """Accuracy on the source task and on the targets, the ONNX file, the page to open, and what was compared.

    Raises:
        UserError: a result is missing or damaged; the message names the file and the stage to run again.
    """
    card_file, onnx_file = EXPORT / CARD_FILE, EXPORT / ONNX_FILE
    card = parse_card(read_json(card_file, rerun("export", EXPORT)), card_file)
    data, how = card.data, method(card.objective, card.regularizer, card.reg_weight)
    source, transfer, export = read_probe().source, read_transfer(), read_export()
    for path, stage in ((onnx_file, "export"), (REPORT, "report")):
        if not path.exists():
            raise UserError(f"{path} is missing; {rerun(stage, path.parent)}")
    size, distance = file_size(onnx_file.stat().st_size), export.max_relative_error
    return [
        f"An encoder was trained on {data} by {how}.",
        f"On its source task a linear probe is right for {source.shown} of "
        f"{counted(source.test_images, 'test image')} (95 % interval {source.shown_ci95})."
        if source
        else f"It has no accuracy on its source task, because {data} has no labels.",
        *_mean_accuracy(transfer),
        f"The model is {onnx_file}, {size}; it agrees with torch within a relative error of {distance:.1e}.",
        f"Open {REPORT} in a browser to see what was learned, what it cost and how to ship it.",
        *([f"The audit, without labels. {' '.join(told)}"] if (told := read_audit().sentences()) else []),
        "",
        *comparison_lines(read_compare()),
    ]


def _mean_accuracy(transfer: TransferResult) -> list[str]:
    if transfer.mean_accuracy is None or transfer.mean_accuracy_ci95 is None:
        return []
    others = " of classes" if len(transfer.targets) > transfer.with_accuracy else ""
    return [
        f"Over {counted(transfer.with_accuracy, 'target')}{others} the mean accuracy is "
        f"{percent(transfer.mean_accuracy)} (95 % interval {interval(transfer.mean_accuracy_ci95)})."
    ]


def comparison_lines(compared: CompareResult) -> list[str]:
    """A table with a row for each task, then what its figures say, and what is not there to compare with."""
    kinds = [kind for kind in COLUMNS if kind in compared.kinds]
    widths = [len(TITLES_OF_KINDS[kind]) for kind in kinds]
    first = max(len(task.name) for task in compared.tasks.values())
    titles = "".join(f"  {TITLES_OF_KINDS[kind]}" for kind in kinds)
    others = [KINDS[kind].name for kind in KINDS if kind != "class" and kind in compared.task_kinds]
    what = "Right test images in %" + "".join(f", {name} in hundredths" for name in others)
    lines = [f"{what}, read by a linear probe:", " " * first + titles]
    for task in compared.tasks.values():
        shares = {figure.kind: 100 * figure.score for figure in task.figures}
        row = "".join(f"  {shares[kind]:{width}.1f}" for kind, width in zip(kinds, widths, strict=True))
        lines.append(f"{task.name:{first}}{row}")
    return [*lines, *compared.notes(), *compared.sentences()]
