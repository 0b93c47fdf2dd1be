"""The table in the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from infocl.experiments.dvc_command import run_dvc
from infocl.experiments.table.build import Row, Section, build_sections
from infocl.experiments.table.experiments import Experiments, read_experiments
from infocl.experiments.table.published import read_published
from infocl.experiments.table.stats import Estimate, in_percent
from infocl.runtime.console import Output
from infocl.runtime.errors import UserError
from infocl.runtime.text import counted

STYLES = ("terminal", "markdown", "csv")
PIPED_WIDTH = 200  # columns, where the output is no terminal


def print_table(*, paper: str | None, style: str, file: Path | None, all_commits: bool) -> None:
    """Print the finished experiments; notes go to standard error where the output is CSV.

    The arguments are the options of `infocl table`; `file` may be `-`, and None asks DVC.

    Raises:
        UserError: nothing is finished, or an argument or the file is wrong.
        InfoCLError: `dvc` failed.
    """
    if style not in STYLES:
        raise UserError(f"--format is {style!r}; use one of {', '.join(STYLES)}")
    published = read_published(paper) if paper else None
    found = read_experiments(_experiments(file, all_commits))
    if not found.finished and not published:
        raise UserError(f"there is no finished experiment{_left_out(found)}; `dvc exp run` makes one")
    sections = build_sections(found.finished, published)
    notes = list(_notes(found, sections))
    if style == "csv":
        sys.stdout.write(as_csv(sections))
        print("\n".join(notes), file=sys.stderr)
    elif style == "markdown":
        print("\n\n".join(as_markdown(section) for section in sections))
        print("\n" + "\n".join(f"- {note}" for note in notes))
    else:
        _to_terminal(sections, notes)


def _experiments(file: Path | None, all_commits: bool) -> str:
    if file is None:
        return run_dvc(["exp", "show", "--json", *(["--all-commits"] if all_commits else [])], capture=True)
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}); name the output of dvc exp show --json") from None


def _left_out(found: Experiments) -> str:
    kinds = ", ".join(f"{count} {reason}" for reason, count in sorted(found.left_out.items()))
    return f" (left out: {kinds})" if kinds else ""


def _notes(found: Experiments, sections: list[Section]) -> Iterator[str]:
    rows = [row for section in sections for row in section.rows]
    yield "Accuracies in %, differences in points; ± is half the 95 % interval over n seeds (Student's t)."
    yield "Differences are of the mean over targets, paired over seeds, to the same objective and setting."
    if any(row.published for row in rows):
        yield "Published rows have no intervals; mean and differences are computed here from their targets."
    for section in sections:
        if section.settings:
            yield f"{section.title}: {counted(len(section.settings), 'setting')}, compared only within each."
        for letter, values in section.settings.items():
            yield f"Setting {letter}: {', '.join(f'{key} {value}' for key, value in values.items())}"
    repeated = sum(section.repeated for section in sections)
    if repeated:
        yield f"Left out because a later run has the same params and seed: {counted(repeated, 'run')}."
    if found.left_out:
        kinds = ", ".join(f"{count} {reason}" for reason, count in sorted(found.left_out.items()))
        yield f"Left out: {kinds}."


def _header(section: Section) -> list[str]:
    setting = ["setting"] if section.settings else []
    noise = ["to noise"] if any(row.to_noise for row in section.rows) else []
    return [*setting, "model", "n", "source", *section.targets, "mean", "to plain", *noise]


def _cells(section: Section, row: Row) -> Iterator[str]:
    if section.settings:
        yield row.setting
    yield row.label
    yield "" if row.published else str(row.mean.seeds)
    for column in ("source", *section.targets):
        yield _share(row.accuracy.get(column), row)
    yield _share(row.mean, row)
    yield _difference(row.to_plain, row)
    if any(other.to_noise for other in section.rows):
        yield _difference(row.to_noise, row)


def _share(found: Estimate | None, row: Row) -> str:
    return in_percent(found, _decimals(row))


def _difference(found: Estimate | None, row: Row) -> str:
    pairs = f" (n {found.seeds})" if found and found.seeds != row.mean.seeds else ""
    return in_percent(found, f"+{_decimals(row)}") + pairs


def _decimals(row: Row) -> str:
    return ".2f" if row.published else ".1f"


def as_markdown(section: Section) -> str:
    """One section as a GitHub table below its title."""
    header = _header(section)
    first = header.index("model") + 1
    lines = [header, ["---"] * first + ["---:"] * (len(header) - first)]
    lines += [[cell.replace("|", "\\|") for cell in _cells(section, row)] for row in section.rows]
    return "\n".join([f"### {section.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def as_csv(sections: list[Section]) -> str:
    """All sections as one CSV table: accuracies in %, beside them half their intervals' widths."""
    targets = list(dict.fromkeys(target for section in sections for target in section.targets))
    columns = ["source", *targets, "mean", "to_plain", "to_noise"]
    names = ["data", "setting", "model", "objective", "regularizer", "weight", "published", "seeds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *(name for column in columns for name in (column, f"{column}_ci95_half"))])
    for section in sections:
        for row in section.rows:
            found = {**row.accuracy, "mean": row.mean, "to_plain": row.to_plain, "to_noise": row.to_noise}
            weight = "" if row.weight is None else f"{row.weight:g}"
            seeds = "" if row.published else row.mean.seeds
            about = [section.title, row.setting, row.label, row.objective, row.regularizer, weight]
            numbers = [number for column in columns for number in _numbers(found.get(column))]
            writer.writerow([*about, int(row.published), seeds, *numbers])
    return text.getvalue()


def _numbers(found: Estimate | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    half = "" if found.half_width is None else f"{100 * found.half_width:.6g}"
    return f"{100 * found.mean:.6g}", half


def _to_terminal(sections: list[Section], notes: list[str]) -> None:
    out = Output(PIPED_WIDTH)
    for section in sections:
        table = Table(title=section.title, title_justify="left")
        for name in _header(section):
            table.add_column(name, justify="left" if name in ("setting", "model") else "right")
        for row in section.rows:
            cells = (cell.replace(" ± ", "\n± ") for cell in _cells(section, row))
            table.add_row(*cells, style="dim" if row.published else None)
        out.print(table)
    for note in notes:
        out.print(note)
