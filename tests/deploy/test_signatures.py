"""Signed folders, and commands that hold a folder to its sums and signature before they load its model."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.deploy.test_verify import SUMS, change_model, sum_again


@pytest.fixture
def keys(tmp_path):
    """Two keys, and files of allowed signers for each."""

    def make(name):
        key = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        allowed = tmp_path / f"{name}.allowed"
        allowed.write_text(
            f'{name}@example.org namespaces="infocl-encoder" {key.with_suffix(".pub").read_text()}'
        )
        return key, allowed

    return make("maker"), make("stranger")


def sign(folder, key, namespace="infocl-encoder"):
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, folder / SUMS], check=True)


def test_a_signature_by_an_allowed_signer_passes(folder, infocl, keys):
    (key, allowed), _ = keys
    sign(folder, key)
    result = infocl("verify", folder, "--signers", allowed)
    assert result.exit_code == 0, result.stderr
    assert "signature  by maker@example.org\n" in result.stdout


def test_without_signers_a_signature_is_still_held_to_the_sums(folder, infocl, refuses, keys):
    (key, _), _ = keys
    sign(folder, key)
    result = infocl("verify", folder)
    assert result.exit_code == 0, result.stderr
    assert "name those you trust with --signers" in result.stdout
    (folder / "README.md").write_text("altered")
    sum_again(folder)
    assert f"does not sign {SUMS}" in refuses("verify", folder)


@pytest.mark.parametrize("harm", ["stranger", "altered", "namespace", "garbage", "none", "no file"])
def test_a_signature_that_does_not_hold_is_refused(folder, refuses, keys, harm):
    (key, allowed), (other, _) = keys
    if harm != "none":
        sign(folder, other if harm == "stranger" else key, "git" if harm == "namespace" else "infocl-encoder")
    if harm == "altered":
        (folder / "README.md").write_text("altered")
        sum_again(folder)
    if harm == "garbage":
        (folder / f"{SUMS}.sig").write_text("garbage")
    message = refuses("verify", folder, "--signers", folder / "nothing" if harm == "no file" else allowed)
    expected = {
        "none": "is not signed; ask for a signed export",
        "no file": "is not a file; name one of allowed",
    }
    assert expected.get(harm, f"does not sign {SUMS} by an allowed signer") in message


@pytest.fixture(params=["embed", "serve", "triton"])
def command(request, folder, tmp_path):
    """The arguments of a command that uses the folder's encoder."""
    image = tmp_path / "a.png"
    Image.new("RGB", (20, 20)).save(image)
    return {
        "embed": ("embed", image, "-o", tmp_path / "f.parquet", "--encoder", folder),
        "serve": ("serve", folder),
        "triton": ("triton", folder, tmp_path / "models"),
    }[request.param]


def scale_weights(model):
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights = onnx.numpy_helper.to_array(tensor) * np.float32(1.00001)
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))


@pytest.mark.parametrize(
    "change", [scale_weights, lambda model: model.Clear()], ids=["other weights", "no model"]
)
def test_an_altered_model_is_refused_before_it_is_loaded(folder, refuses, command, change):
    """Also where `encoder.json` was made to fit; what cannot be loaded is refused by the same words."""
    sums = (folder / SUMS).read_text()
    change_model(folder, change)
    (folder / SUMS).write_text(sums)
    assert re.search(r"encoder\.(json|onnx) is damaged or altered", refuses(*command))


def test_an_altered_model_with_new_sums_is_refused_by_its_signature(folder, refuses, command, keys):
    (key, allowed), _ = keys
    sign(folder, key)
    change_model(folder, scale_weights)
    message = refuses(*command, "--signers", allowed)
    assert f"{SUMS}.sig does not sign {SUMS} by an allowed signer" in message


def test_an_unsigned_folder_is_refused_where_signers_are_named(refuses, command, keys):
    (_, allowed), _ = keys
    assert "is not signed; ask for a signed export" in refuses(*command, "--signers", allowed)


@pytest.mark.parametrize("name", ["embed", "triton"])
def test_a_folder_by_an_allowed_signer_is_used(folder, infocl, keys, tmp_path, name):
    (key, allowed), _ = keys
    sign(folder, key)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    arguments = {
        "embed": (tmp_path / "a.png", "-o", tmp_path / "f.parquet", "--encoder", folder),
        "triton": (folder, tmp_path / "models"),
    }[name]
    result = infocl(name, *arguments, "--signers", allowed)
    assert result.exit_code == 0, result.stderr
