"""A study as data: saved, shown again without DVC, joined, and drawn."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET

import pytest
from typer.testing import CliRunner

from infocl.cli.main import app
from infocl.experiments.study.record import load_studies, save_study
from infocl.experiments.study.show import print_study
from infocl.runtime.errors import UserError
from tests.experiments.study.test_show import study
from tests.workspace import ROOT

PUBLISHED = sorted((ROOT / "benchmarks/results/study").glob("*.json"))


def infocl(*words):
    """What a command prints, and its exit code; standard error is beside it."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.stdout, found.exit_code, found.stderr


def test_a_saved_study_says_the_same_again_and_is_drawn(tmp_path, capsys):
    file, picture = tmp_path / "study.json", tmp_path / "study.svg"
    save_study(study(), file)
    print_study(study(), "markdown", with_commands=True)
    expected = capsys.readouterr().out
    assert infocl("study", "--from", file, "--format", "markdown", "--figure", picture) == (expected, 0, "")
    assert expected.endswith("- Made by `infocl study`.\n")
    assert load_studies([file]) == study()
    root = ET.parse(picture).getroot()
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for title in ("source", "hue", "raw pixels", "untrained", "SimCLR", "+ RC (λ = 1)"):
        assert title in words
    assert "prefers-color-scheme: dark" in picture.read_text()
    used = set(re.findall(r"var\(--([a-z]+)\)", picture.read_text()))
    assert used <= set(re.findall(r"--([a-z]+):", picture.read_text()))
    assert not re.search(r"#(0[1-6])\1\1\b", picture.read_text()), "a stand-in colour was left"


def test_parts_of_two_clones_are_one_study(tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, part in zip(files, (slice(0, 3), slice(2, 6)), strict=True):
        save_study(study(finished_of=part), file)
    joined, every = load_studies(files), study()
    assert joined == every
    assert infocl("study", "--from", files[0], "--from", files[1], "--save", tmp_path / "all.json")[1] == 0
    assert load_studies([tmp_path / "all.json"]) == every


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_what_does_not_belong_together_is_refused(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    for file in (one, other):
        save_study(study(), file)
    params = study().params
    longer = copy.deepcopy(params)
    longer["train"]["epochs"] = 3
    stronger = copy.deepcopy(params)
    stronger["reg"]["rc"] = stronger["reg"]["rc"] | {"decoder": "published"}
    runs = [run.model_dump() for run in study().runs]
    cases = {
        r"other settings \(train\.epochs\)": {"params": longer},
        r"other knobs of SimCLR \+ RC": {"params": stronger},
        r"only one drew new data": {"new_data": True},
        r"other figures of SimCLR, seed 0": {"runs": [runs[0] | {"accuracy": {"hue": 0.5}}, *runs[1:]]},
        r"holds no study \(runs\.0\.seed": {"runs": [runs[0] | {"seed": "x"}]},
        r"holds no study \(params: KeyError": {"params": {}},
    }
    for message, values in cases.items():
        save_study(study(), other)
        change(other, **values)
        with pytest.raises(UserError, match=rf"^{re.escape(str(other))}.*{message}"):
            load_studies([one, other])
    with pytest.raises(UserError, match=r"missing\.json is missing; infocl study --show --save FILE"):
        load_studies([tmp_path / "missing.json"])


def test_options_without_meaning_are_refused(tmp_path):
    out, code, error = infocl("study", "--from", tmp_path / "x.json", "--seeds", "1")
    assert (out, code) == ("", 2)
    assert error == "infocl: --from shows what its file holds; leave out --seeds\n"
    error = infocl("study", "--show", "--figure", tmp_path / "x.png")[2]
    assert error.endswith("x.png, but must end with .svg\n")


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_the_published_table_and_picture_are_those_of_the_published_data(file, tmp_path):
    table, code, _ = infocl("study", "--from", file, "--format", "markdown", "--figure", tmp_path / "x.svg")
    assert code == 0
    assert table == file.with_suffix(".md").read_text()
    assert (tmp_path / "x.svg").read_text() == file.with_suffix(".svg").read_text()


def test_a_study_is_published():
    assert PUBLISHED
