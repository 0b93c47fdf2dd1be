"""The exported folder: what onnxruntime, model hubs, sha256sum and a careful person would check."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from infocl.encoders import load_encoder
from infocl.errors import InfoCLError, UserError
from infocl.export import export_encoder, to_onnx
from infocl.parity import compare
from tests.tiny_run import (
    CLASSES,
    SIZE,
    digit_images,
    tiny_params,
    write_encoder,
    write_metrics,
    write_prepared,
)

EXPORT = Path("exports/encoder")
ROOT = Path(__file__).parents[2]


def session(path=EXPORT / "encoder.onnx"):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def contents(folder=EXPORT):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def about():
    return json.loads((EXPORT / "encoder.json").read_text())


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_number_of_images_gives_torchs_embeddings(project, count):
    images = digit_images(0, count)[0]
    (found,) = session().run(["embedding"], {"image": images})
    encoder, _ = load_encoder(Path("models/pretrain"))
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
    assert found.dtype == np.float32
    assert found.shape == (count, 64)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_channels_are_red_green_blue(project):
    image = digit_images(0, 1)[0]
    run = session().run
    (found,), (swapped,) = run(None, {"image": image}), run(None, {"image": image[..., ::-1].copy()})
    assert not np.allclose(found, swapped, rtol=1e-2)


def test_the_interface_is_the_documented_one(project):
    model = session()
    (image,), (embedding,) = model.get_inputs(), model.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", SIZE, SIZE, 3])
    assert (embedding.name, embedding.type, embedding.shape) == ("embedding", "tensor(float)", ["N", 64])
    said = about()
    assert said["input"] == {
        "name": "image",
        "dtype": "uint8",
        "shape": ["N", SIZE, SIZE, 3],
        "channels": "RGB",
    }
    assert said["output"] == {"name": "embedding", "dtype": "float32", "shape": ["N", 64]}
    assert said["normalized"] is False


def test_the_file_is_valid_whole_and_of_the_asked_operator_set(project):
    onnx.checker.check_model(EXPORT / "encoder.onnx", full_check=True)
    model = onnx.load(EXPORT / "encoder.onnx", load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert {path.name for path in EXPORT.iterdir()} == {
        "encoder.onnx",
        "encoder.json",
        "README.md",
        "SHA256SUMS",
    }


@pytest.mark.parametrize("opset", [23])
def test_other_operator_sets(project, opset):
    encoder, _ = load_encoder(Path("models/pretrain"))
    model = to_onnx(encoder, SIZE, opset)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    images = digit_images(0, 3)[0]
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": images})
    np.testing.assert_allclose(found, session().run(None, {"image": images})[0], rtol=1e-4, atol=1e-6)


def test_nothing_tells_of_the_machine_or_of_the_code(project):
    everything = b"".join(contents().values())
    hints = [ROOT, Path.home(), project, Path(sys.prefix), Path.cwd()]
    assert [str(hint) for hint in hints if len(str(hint)) > 1 and str(hint).encode() in everything] == []
    onnx_bytes = (EXPORT / "encoder.onnx").read_bytes()
    for trace in (
        b"infocl.export",
        b"_FromPixels",
        b"stack_trace",
        b"pkg.torch",
        b".py",
        b'File "',
        b"aten.",
    ):
        assert trace not in onnx_bytes, trace


def test_the_strip_has_something_to_do(project):
    """The exporter does write stack traces, so the test above can fail."""
    encoder, _ = load_encoder(Path("models/pretrain"))
    raw = torch.onnx.export(encoder, (torch.zeros(2, 3, SIZE, SIZE),), dynamo=True, verbose=False)
    assert str(ROOT).encode() in raw.model_proto.SerializeToString()


def test_exporting_twice_gives_the_same_bytes(project):
    before = contents()
    export_encoder(tiny_params())
    assert contents() == before


def test_metadata_of_the_file_and_the_json_agree(project):
    said = about()
    props = session().get_modelmeta().custom_metadata_map
    for key, value in said.items():
        if key in ("bytes", "onnx_sha256"):
            assert key not in props
        else:
            assert props[key] == (value if isinstance(value, str) else json.dumps(value)), key
    config = json.loads(Path("models/pretrain/config.json").read_text())
    shared = [
        "version",
        "data",
        "objective",
        "regularizer",
        "reg_weight",
        "params_sha256",
        "git_revision",
        "weights_sha256",
        "mean",
        "std",
        "image_size",
    ]
    assert {key: said[key] for key in shared} == {key: config[key] for key in shared}
    probe, transfer = (json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("probe", "transfer"))
    assert said["metrics"]["source"]["accuracy"] == probe["accuracy"]
    assert said["metrics"]["mean_transfer_accuracy"] == transfer["mean_accuracy"]
    assert said["opset"] == 18
    assert said["bytes"] == (EXPORT / "encoder.onnx").stat().st_size
    assert said["onnx_sha256"] == hashlib.sha256((EXPORT / "encoder.onnx").read_bytes()).hexdigest()


def test_metrics_are_those_of_the_proof(exported, project):
    metrics = exported[1]
    parity = about()["parity"]
    assert {key: metrics[key] for key in ("max_abs_error", "max_relative_error", "cosine_min")} == {
        key: parity[key] for key in ("max_abs_error", "max_relative_error", "cosine_min")
    }
    assert 0 < metrics["max_relative_error"] <= parity["tolerance"] == 1e-5
    assert 0.999999 < metrics["cosine_min"] <= 1
    assert metrics["parity_images"] == parity["images"] == 12
    assert metrics["bytes"] == about()["bytes"]
    assert metrics["onnxruntime_images_per_second"] > 0 < metrics["torch_images_per_second"]


def test_sha256sum_agrees_and_notices_damage(project):
    command = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=EXPORT, capture_output=True).returncode == 0
    with (EXPORT / "encoder.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert subprocess.run(command, cwd=EXPORT, capture_output=True).returncode == 1


def test_an_intolerable_error_touches_nothing(project):
    before = contents()
    with pytest.raises(
        InfoCLError, match=r"export\.max_relative_error 1e-12; nothing was exported"
    ) as caught:
        export_encoder(tiny_params(max_relative_error=1e-12))
    assert not isinstance(caught.value, UserError)
    assert contents() == before
    assert [path.name for path in Path("exports").iterdir()] == ["encoder"]


def _damage(path, change=lambda data: data[:-100]):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda: _damage(Path("models/pretrain/encoder.safetensors")), "encoder.safetensors.*repro pretrain"),
        (lambda: _damage(Path("data/prepared/scenes/test/images.npy")), "images.npy.*repro prepare"),
        (lambda: Path("metrics/probe.json").unlink(), "probe.json is missing.*repro probe"),
        (
            lambda: Path("metrics/transfer.json").write_text("{}"),
            "transfer.json has no usable.*repro transfer",
        ),
        (lambda: write_encoder(write_prepared(), data="cifar10"), "trained on cifar10.*repro pretrain"),
        (lambda: write_encoder(write_prepared(), image_size=32), "16 px.*trained on 32 px"),
        (
            lambda: write_encoder(write_prepared() | {"mean": [0.3, 0.6, 0.10001]}),
            "normalises by other images than those in data/prepared/scenes",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_nothing_is_touched(project, harm, said):
    before = contents()
    harm()
    with pytest.raises(UserError, match=said) as caught:
        export_encoder(tiny_params())
    assert "\n" not in str(caught.value)
    assert contents() == before


def test_without_labels_and_without_a_test_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_encoder(write_prepared(labelled=False, classes=CLASSES, splits=("train",)))
    write_metrics(labelled=False)
    metrics = export_encoder(tiny_params(parity_images=1000))
    assert metrics["parity_images"] == 60
    assert about()["metrics"]["source"] is None
    assert "The data set scenes has no labels" in (EXPORT / "README.md").read_text()


def test_compare_against_numbers_worked_by_hand():
    expected = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    found = np.array([[3.0, 4.5], [0.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    absolute, relative, cosine = compare(found, expected)
    assert (absolute, relative) == (1.0, 1.0)
    assert cosine == pytest.approx(np.sqrt(0.5))
    assert compare(expected[1:2], expected[1:2]) == (0.0, 0.0, 1.0)
    assert compare(found[:1], expected[1:2])[1] > 1e20, "a zero embedding that is not zero is an error"
