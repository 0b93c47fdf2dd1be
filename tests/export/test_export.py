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

from infocl.deploy.correct import read_correct
from infocl.encoder.files import load_encoder
from infocl.encoder.network import Encoder
from infocl.export.compare import compare
from infocl.export.exporter import export_encoder
from infocl.export.graph import network_graph, with_preprocessing
from tests.tiny_run import (
    SIZE,
    digit_images,
    tiny_params,
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
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", "H", "W", 3])
    assert (embedding.name, embedding.type, embedding.shape) == ("embedding", "tensor(float)", ["N", 64])
    message = about()
    assert message["input"] == {
        "name": "image",
        "dtype": "uint8",
        "shape": ["N", "H", "W", 3],
        "channels": "RGB",
    }
    assert message["output"] == {"name": "embedding", "dtype": "float32", "shape": ["N", 64]}
    assert message["normalized"] is False
    assert (message["dim"], message["image_size"], message["format"]) == (64, SIZE, 2)


def test_the_file_is_valid_whole_and_of_the_asked_operator_set(project):
    onnx.checker.check_model(EXPORT / "encoder.onnx", full_check=True)
    model = onnx.load(EXPORT / "encoder.onnx", load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert {path.name for path in EXPORT.iterdir()} == {
        *("encoder.onnx", "encoder.float.onnx", "encoder.fp16.onnx", "encoder.int8.onnx"),
        *("encoder.safetensors", "encoder.json", "example.npz", "drift.npz", "correct.npz"),
        *("sbom.cdx.json", "README.md", "SHA256SUMS"),
    }


def test_the_example_is_real_images_of_several_sizes_and_what_the_file_gives_of_them(project):
    example = np.load(EXPORT / "example.npz", allow_pickle=False)
    images, embeddings = example["images"], example["embeddings"]
    assert (images.shape, images.dtype) == ((10, SIZE, SIZE, 3), np.uint8)
    assert (embeddings.shape, embeddings.dtype) == ((10, 64), np.float32)
    test = np.load("data/prepared/test/images.npy")
    assert all((test == image).all(axis=(1, 2, 3)).any() for image in images)
    assert len(np.unique(images, axis=0)) == 10
    (found,) = session().run(None, {"image": images})
    np.testing.assert_allclose(found, embeddings, rtol=1e-5, atol=1e-6)
    sizes = [[SIZE, SIZE], [33, 48], [48, 31], [15, 8], [48, 1]]
    for height, width in sizes[1:]:
        odd = example[f"images_{height}x{width}"]
        assert (odd.shape, odd.dtype) == ((2, height, width, 3), np.uint8)
        (found,) = session().run(None, {"image": odd})
        np.testing.assert_allclose(found, example[f"embeddings_{height}x{width}"], rtol=1e-5, atol=1e-6)
    expected = {"file": "example.npz", "images": 18, "sizes": sizes, "max_relative_error": 1e-4}
    assert about()["example"] == expected


def test_the_sample_for_drift_is_of_test_images_in_units_of_the_training_images(project):
    """Against the definition, by NumPy's own PCA of the covariance."""
    sample, described = np.load(EXPORT / "drift.npz", allow_pickle=False), about()["drift"]
    assert {key: described[key] for key in ("file", "images", "split", "image_size", "crop")} == {
        "file": "drift.npz",
        "images": 60,
        "split": "test",
        "image_size": SIZE,
        "crop": "center",
    }
    train, test = (np.load(f"data/prepared/{split}/images.npy") for split in ("train", "test"))
    embed = lambda images: session().run(None, {"image": images})[0].astype(np.float64)  # noqa: E731
    values, vectors = np.linalg.eigh(np.cov(embed(train).T))
    largest = np.argsort(values)[::-1][: described["components"]]
    expected = (embed(test) - embed(train).mean(0)) @ vectors[:, largest] / np.sqrt(values[largest])
    np.testing.assert_allclose(np.abs(sample["features"]), np.abs(expected), rtol=0.02, atol=0.02)
    assert described["variance_kept"] == pytest.approx(values[largest].sum() / values.sum(), rel=1e-4)
    assert "`infocl drift FOLDER`\ncompares" in (EXPORT / "README.md").read_text()


def test_no_sample_where_none_is_asked_for(project):
    export_encoder(tiny_params(drift_images=0))
    assert not (EXPORT / "drift.npz").exists()
    assert about()["drift"] is None
    assert "infocl drift" not in (EXPORT / "README.md").read_text()


def test_what_the_probe_got_right_is_in_the_folder_image_by_image(project):
    rows = about()["metrics"]
    found = read_correct(EXPORT)
    files = {name: Path("models/correct") / f"{name}.npy" for name in rows["transfer"]}
    files["source"] = Path("models/features/correct.npy")
    assert set(found) == set(files)
    for name, file in files.items():
        np.testing.assert_array_equal(found[name], np.load(file))
    assert {"test_images_sha256", "test_labels_sha256"} <= set(rows["source"])


def test_a_runtime_that_ignores_antialias_does_not_repeat_the_example(project):
    """As OpenVINO does with the operator Resize; images of the trained size alone would not show it."""
    model = onnx.load(EXPORT / "encoder.onnx")
    resized = next(node for node in model.graph.node if "resized" in node.output)
    levels = next(node for node in model.graph.node if "levels" in node.output).output[0]
    side = onnx.numpy_helper.from_array(np.array([3, SIZE, SIZE], np.int64), "side_for_resize")
    model.graph.initializer.append(side)
    place = list(model.graph.node).index(resized)
    model.graph.node.remove(resized)
    nodes = [
        onnx.helper.make_node("Shape", ["image"], ["how_many"], start=0, end=1),
        onnx.helper.make_node("Concat", ["how_many", "side_for_resize"], ["to"], axis=0),
        onnx.helper.make_node("Resize", [levels, "", "", "to"], ["resized"], mode="linear"),
    ]
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)
    plain = onnxruntime.InferenceSession(model.SerializeToString())
    example = np.load(EXPORT / "example.npz")
    errors = {}
    for size in ("", "_33x48", "_48x31"):
        (found,) = plain.run(None, {"image": example[f"images{size}"]})
        errors[size] = compare(found, example[f"embeddings{size}"])[1]
    assert errors[""] < 1e-5
    assert min(errors["_33x48"], errors["_48x31"]) > 100 * about()["example"]["max_relative_error"]


def test_bottlenecks_and_another_operator_set(project):
    params = tiny_params().encoder.model_copy(update={"arch": "resnet50", "stem": "imagenet"})
    encoder = Encoder(params, [0.3, 0.6, 0.1], [0.2, 0.3, 0.1])
    images = digit_images(0, 16)[0]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        encoder(pixels)  # running statistics that are not the initial ones
        expected = encoder.eval()(pixels).numpy()
    model = with_preprocessing(network_graph(encoder, SIZE, 23), encoder, SIZE, "center")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 23
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": images})
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_nothing_tells_of_the_machine_or_of_the_code(project):
    everything = b"".join(contents().values())
    hints = [ROOT, Path.home(), project, Path(sys.prefix), Path.cwd()]
    assert [str(hint) for hint in hints if len(str(hint)) > 1 and str(hint).encode() in everything] == []
    onnx_bytes = b"".join(path.read_bytes() for path in EXPORT.glob("*.onnx"))
    for trace in (
        b"infocl.export",
        b"_Network",
        b"/tmp",
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
    message = about()
    props = session().get_modelmeta().custom_metadata_map
    measured = {
        "bytes",
        "onnx_sha256",
        "parity",
        "variants",
        "float_input",
        "weights",
        "licence",
        "example",
        "drift",
        "correct",
        "photographs",
        "signature",
    }
    assert message.keys() - props.keys() == measured
    for key in message.keys() - measured:
        value = message[key]
        assert props[key] == (value if isinstance(value, str) else json.dumps(value)), key
    assert props["variant"] == "float32"
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
    assert {key: message[key] for key in shared} == {key: config[key] for key in shared}
    probe, transfer = (
        json.loads(Path(f"metrics/details/{name}.json").read_text()) for name in ("probe", "transfer")
    )
    assert message["metrics"]["source"]["accuracy"] == probe["accuracy"]
    assert message["metrics"]["mean_transfer_accuracy"] == transfer["mean_accuracy"]
    assert message["opset"] == 18
    assert message["bytes"] == (EXPORT / "encoder.onnx").stat().st_size
    assert message["onnx_sha256"] == hashlib.sha256((EXPORT / "encoder.onnx").read_bytes()).hexdigest()


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
    for name, row in metrics["variants"].items():
        assert row["images_per_second"] > 0
        assert row["relative_error"] == about()["variants"][name]["relative_error"]


def test_sha256sum_agrees_and_notices_damage(project):
    command = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=EXPORT, capture_output=True).returncode == 0
    with (EXPORT / "encoder.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert subprocess.run(command, cwd=EXPORT, capture_output=True).returncode == 1
