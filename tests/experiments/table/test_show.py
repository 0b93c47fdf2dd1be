"""The table in the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from typer.testing import CliRunner

from infocl.cli.main import app
from infocl.experiments.table.show import as_csv, as_markdown, print_table
from infocl.runtime.errors import UserError
from tests.experiments.table.shown import experiment, runs_of, sections, shown


def table(text, *arguments):
    return CliRunner().invoke(app, ["table", "--file", "-", *arguments], input=text)


ROWS = [*runs_of("none", [0.5, 0.6]), *runs_of("rc", [0.7, 0.9])]


def test_csv_carries_the_same_figures_as_markdown():
    result = table(shown(*ROWS, experiment((0, 0), state="running")), "--format", "csv")
    assert result.exit_code == 0
    plain, rc = csv.DictReader(io.StringIO(result.stdout))
    assert (plain["objective"], plain["regularizer"], plain["seeds"]) == ("simclr", "none", "2")
    assert float(rc["mean"]) == pytest.approx(80)
    assert float(rc["to_plain"]) == pytest.approx(25)
    assert float(rc["to_plain_ci95_half"]) == pytest.approx(math.tan(0.475 * math.pi) * 5, rel=1e-5)
    assert plain["to_plain"] == plain["to_plain_ci95_half"] == ""
    assert "Left out: 1 running." in result.stderr
    markdown = table(shown(*ROWS), "--format", "markdown").stdout
    assert f"| +25.0 ± {float(rc['to_plain_ci95_half']):.1f} |" in markdown


def test_the_terminal_shows_every_row():
    result = table(shown(*ROWS), "--paper", "cifar10")
    assert result.exit_code == 0
    assert re.search(r"SimCLR \+ RC \(λ = 1\) +│ 2 │", result.stdout)
    assert "SimCLR + noise only, published" in result.stdout
    assert "85.76" in result.stdout


def test_markdown_columns_agree():
    text = as_markdown(sections(*ROWS)[0])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert as_csv([]).count("\n") == 1


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("{", [], "not the output of `dvc exp show --json`"),
        ('[{"rev": "x"}]', [], "not the output of `dvc exp show --json`"),
        (shown(experiment((0, 0), state="failed")), [], "no finished experiment (left out: 1 failed)"),
        ("[]", [], "no finished experiment; `dvc exp run` makes one"),
        (shown(*ROWS), ["--format", "html"], "--format is 'html'; use one of terminal, markdown, csv"),
        (shown(*ROWS), ["--paper", "mnist"], "no published figures for 'mnist'; use one of cifar10"),
    ],
)
def test_mistakes_are_one_line(text, arguments, message):
    result = table(text, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone.json cannot be read"):
        print_table(paper=None, style="csv", file=tmp_path / "gone.json", all_commits=False)
