"""Encoders of torchvision and timm, read from safetensors: the same features, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from typer.testing import CliRunner

from infocl.cli.main import app
from infocl.config import ImportedParams
from infocl.encoder.imported import describe_imported, read_imported
from infocl.encoder.network import FIXED_STATISTICS
from infocl.runtime.errors import UserError
from tests.project import environment
from tests.workspace import ROOT

README = (ROOT / "infocl/pretrain/README.md").read_text()


def trained(model):
    """A model whose running statistics are not the initial ones."""
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 64, 64))
    return model.eval()


def params(file, **changes):
    known = {"file": str(file), "sha256": sha256(file.read_bytes()).hexdigest(), "image_size": "auto"}
    return ImportedParams(**known | changes)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    torch.manual_seed(0)
    model = trained(torchvision.models.resnet18())
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(model.state_dict(), file)
    return model, file


@pytest.mark.parametrize(
    ("make", "arch"),
    [
        (torchvision.models.resnet50, "resnet50"),
        (lambda: timm.create_model("resnet34"), "resnet34"),
    ],
)
def test_features_are_those_of_the_library_that_wrote_it(tmp_path, make, arch):
    torch.manual_seed(0)
    model, file = trained(make()), tmp_path / "weights.safetensors"
    save_file(model.state_dict(), file)
    state = torch.get_rng_state()
    encoder = read_imported(params(file))
    assert torch.equal(torch.get_rng_state(), state)
    assert not encoder.training
    assert describe_imported(encoder, params(file), 32) == f"{arch} from weights.safetensors, at 32 px"
    model.fc = torch.nn.Identity()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in FIXED_STATISTICS["imagenet"])
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        expected, found = model((images - mean) / std), encoder(images)
    assert torch.linalg.norm(found - expected) < 1e-5 * torch.linalg.norm(expected)


def test_a_pth_is_refused_and_the_lines_of_the_readme_convert_it(resnet18, tmp_path, monkeypatch):
    model, _ = resnet18
    monkeypatch.chdir(tmp_path)
    torch.save(model.state_dict(), "resnet50.pth")
    with pytest.raises(UserError, match=r"resnet50\.pth is a pickle.*convert it.*infocl/pretrain/README\.md"):
        read_imported(params(Path("resnet50.pth")))
    from_torchvision, from_pth = re.findall(r"```python\n(import torch.*?)```", README, re.DOTALL)
    exec(from_pth, {})
    encoder = read_imported(params(Path("resnet50.safetensors")))
    assert torch.equal(encoder.levels[0][0].conv1.weight, model.layer1[0].conv1.weight)
    download = 'resnet50(weights="IMAGENET1K_V2")'
    assert download in from_torchvision
    exec(from_torchvision.replace(download, "resnet34()"), {})
    assert read_imported(params(Path("resnet50.safetensors"))).params.arch == "resnet34"


def test_old_files_without_counters_or_classifier_will_do(resnet18, tmp_path):
    model, _ = resnet18
    weights = {
        name: one
        for name, one in model.state_dict().items()
        if "num_batches" not in name and not name.startswith("fc.")
    }
    save_file(weights, tmp_path / "old.safetensors")
    assert read_imported(params(tmp_path / "old.safetensors")).params.arch == "resnet18"


def without(weights):
    del weights["layer3.0.conv1.weight"]


def with_more(weights):
    weights["layer1.0.se.weight"] = torch.zeros(3)


def with_another_stem(weights):
    weights["conv1.weight"] = torch.zeros(64, 3, 3, 3)


def with_nan(weights):
    weights["bn1.bias"] = torch.full((64,), torch.nan)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, r"nearest is resnet18, but layer3\.0\.conv1\.weight is missing \(1 differences\)"),
        (with_more, r"nearest is resnet18, but layer1\.0\.se\.weight is too much"),
        (with_another_stem, r"conv1\.weight is \(64, 3, 3, 3\), not \(64, 3, 7, 7\)"),
        (with_nan, r"has NaN or infinity in bn1\.bias"),
    ],
)
def test_what_is_no_such_encoder_is_named_in_one_line(resnet18, tmp_path, spoil, message):
    weights, file = resnet18[0].state_dict(), tmp_path / "bad.safetensors"
    spoil(weights)
    save_file(weights, file)
    with pytest.raises(UserError, match=message) as caught:
        read_imported(params(file))
    assert "\n" not in str(caught.value)


def test_another_file_is_refused_with_both_sums(resnet18, tmp_path):
    good = resnet18[1].read_bytes()
    found, other = sha256(good).hexdigest(), "ab" * 32
    with pytest.raises(UserError, match=rf"has the SHA-256 {found}, not {other}"):
        read_imported(params(resnet18[1], sha256=other))
    with pytest.raises(UserError, match=rf"has the SHA-256 {found}, and compare\.imported\.sha256 is empty"):
        read_imported(params(resnet18[1], sha256=""))
    (tmp_path / "cut.safetensors").write_bytes(good[:-1])
    with pytest.raises(UserError, match=r"cut\.safetensors is no undamaged safetensors file"):
        read_imported(params(tmp_path / "cut.safetensors"))
    with pytest.raises(UserError, match=r"gone\.safetensors cannot be read \(No such file"):
        read_imported(params(resnet18[1]).model_copy(update={"file": str(tmp_path / "gone.safetensors")}))


def test_it_is_refused_before_anything_runs_and_the_doctor_says_which_it_is(resnet18, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, text = resnet18[1], (ROOT / "params.yaml").read_text().replace('file: ""  ', "file: FILE  ", 1)
    Path("params.yaml").write_text(text.replace("file: FILE", f'file: "{file}"'))
    known = sha256(file.read_bytes()).hexdigest()
    refused = subprocess.run(
        [sys.executable, "-m", "stages.check"],
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert line.startswith(f"infocl: compare.imported.file {file} has the SHA-256 {known}, and")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace('sha256: ""  ', f"sha256: {known}  ", 1))
    doctor = CliRunner().invoke(app, ["doctor"]).stdout
    assert "Imported     resnet18 from resnet18.safetensors, at 32 px" in doctor.splitlines()
