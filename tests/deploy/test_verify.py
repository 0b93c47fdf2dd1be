"""`infocl verify`: a sound folder passes, and each way of tampering with one is caught by its own check."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from infocl.runtime.files import sha256_file

SUMS, MODEL, ABOUT, EXAMPLE = "SHA256SUMS", "encoder.onnx", "encoder.json", "example.npz"


def sum_again(folder):
    """Make the checksums fit, as one would who can compute them."""
    names = [path for path in sorted(folder.iterdir()) if path.name not in (SUMS, f"{SUMS}.sig")]
    (folder / SUMS).write_text("".join(f"{sha256_file(path)}  {path.name}\n" for path in names))


def describe(folder, change):
    """Change `encoder.json`, and make the checksums fit."""
    about = json.loads((folder / ABOUT).read_text())
    change(about)
    (folder / ABOUT).write_text(json.dumps(about))
    sum_again(folder)


def change_model(folder, change, name=MODEL, variant="float32"):
    """Change an ONNX file, and make `encoder.json` and the checksums fit."""
    model = onnx.load(folder / name, load_external_data=False)
    change(model)
    (folder / name).write_bytes(model.SerializeToString())
    describe(folder, lambda about: about["variants"][variant].update(sha256=sha256_file(folder / name)))


def test_a_sound_folder_passes_with_one_line_for_each_check(folder, infocl):
    result = infocl("verify", folder)
    assert result.exit_code == 0, result.stderr
    heads = [line.split()[0] for line in result.stdout.splitlines()]
    files = [MODEL, "encoder.float.onnx", "encoder.fp16.onnx", "encoder.int8.onnx"]
    assert heads == ["sums", "signature", *files, str(folder)]
    assert f"{len(list(folder.iterdir())) - 1} files" in result.stdout


def _append(folder, name):
    with (folder / name).open("ab") as stream:
        stream.write(b"\0")


def _flip(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


def _truncate(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-100])


@pytest.mark.parametrize("name", [MODEL, "encoder.int8.onnx", "encoder.float.onnx", "README.md", EXAMPLE])
@pytest.mark.parametrize("harm", [_append, _flip, _truncate])
def test_damage_to_any_file_is_named(folder, refuses, harm, name):
    harm(folder, name)
    assert f"{name} is damaged or altered (SHA-256 differs from {SUMS}); copy" in refuses("verify", folder)


def _link(folder):
    shutil.move(folder / "README.md", folder.parent / "README.md")
    (folder / "README.md").symlink_to(folder.parent / "README.md")


def _sums(text):
    return lambda folder: (folder / SUMS).write_text(text((folder / SUMS).read_text()))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "extra.bin").write_text("x"), f"extra.bin is not listed in {SUMS}"),
        (lambda folder: (folder / ".hidden").write_text("x"), f".hidden is not listed in {SUMS}"),
        (lambda folder: (folder / "more").mkdir(), "more is not a plain file"),
        (_link, "README.md is not a plain file"),
        (lambda folder: (folder / EXAMPLE).unlink(), f"{EXAMPLE} is missing; {SUMS} lists it, so copy"),
        (lambda folder: (folder / SUMS).unlink(), f"{SUMS} is missing"),
        (_sums(lambda text: ""), f"{SUMS} lists no files"),
        (_sums(lambda text: text[10:]), f"{SUMS}, line 1 is not a SHA-256"),
        (_sums(lambda text: text + text), "is not a SHA-256 and a new file name"),
        (
            _sums(lambda text: text + f"{'0' * 64}  ../secret\n"),
            "'../secret' is not the name of a file inside",
        ),
        (_sums(lambda text: text + f"{'0' * 64}  /etc/passwd\n"), "'/etc/passwd' is not the name of a file"),
    ],
)
def test_a_folder_that_is_not_as_listed_is_refused(folder, refuses, harm, message):
    harm(folder)
    assert message in refuses("verify", folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("dim"), "encoder.json: dim is not usable (Field required)"),
        (lambda about: about.update(dim="64"), "encoder.json: dim is not usable"),
        (
            lambda about: about.update(dim=65),
            "not uint8 (N, H, W, 3) and float32 (N, 65)",
        ),
        (lambda about: about["output"].update(shape=["N", 65]), "encoder.json says embedding tensor(float)"),
        (lambda about: about["input"].update(shape=["N", 3, "H", "W"]), "differ in input"),
        (
            lambda about: about["variants"]["float32"]["input"].update(dtype="float32"),
            "encoder.json says image tensor(float) ['N', 'H', 'W', 3]",
        ),
        (lambda about: about.update(seed=77), "encoder.onnx and encoder.json differ in seed"),
        (lambda about: about.pop("weights_sha256"), "encoder.json: weights_sha256 is not usable"),
        (
            lambda about: about["variants"]["int8"].update(sha256="0" * 64),
            "encoder.int8.onnx is not the file that encoder.json describes",
        ),
        (
            lambda about: about["variants"]["float32"].update(file="../encoder.onnx"),
            "'../encoder.onnx' is not the name of a file inside the folder",
        ),
        (
            lambda about: about["variants"].update(int8={"shipped": False, "reason": "unlucky"}),
            "encoder.int8.onnx is not described by encoder.json",
        ),
        (
            lambda about: about["variants"].update(float32={"shipped": False, "reason": "unlucky"}),
            "encoder.onnx is not described by encoder.json",
        ),
        (lambda about: about.update(signature={"file": f"{SUMS}.sig"}), f"{SUMS}.sig is missing, but"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, refuses, change, message):
    describe(folder, change)
    assert message in refuses("verify", folder)


def test_files_of_two_exports_are_told_apart(folder, refuses):
    """Same network and interface, but the metadata inside say that it was trained otherwise."""

    def retrain(model):
        next(entry for entry in model.metadata_props if entry.key == "weights_sha256").value = "0" * 64

    change_model(folder, retrain, "encoder.int8.onnx", "int8")
    message = refuses("verify", folder)
    assert (
        "encoder.int8.onnx and encoder.json differ in weights_sha256, so they are of two exports" in message
    )


def test_other_weights_do_not_repeat_the_example(folder, refuses):
    def change(model):
        tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        weights = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))

    change_model(folder, change)
    assert "encoder.onnx does not repeat example.npz: the relative L2 error" in refuses("verify", folder)


@pytest.mark.parametrize("name", ["encoder.fp16.onnx", "encoder.int8.onnx"])
def test_a_smaller_variant_must_repeat_the_example_too(folder, refuses, name):
    variant = {"encoder.fp16.onnx": "float16", "encoder.int8.onnx": "int8"}[name]

    def swap_mean(model):
        mean = next(tensor for tensor in model.graph.initializer if tensor.name == "mean")
        mean.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(mean) + np.float32(1), mean.name)
        )

    change_model(folder, swap_mean, name, variant)
    assert f"{name} does not repeat example.npz" in refuses("verify", folder)


def _example(**arrays):
    def change(folder):
        with np.load(folder / EXAMPLE) as old:
            np.savez(folder / EXAMPLE, **({key: old[key] for key in old} | arrays))
        sum_again(folder)

    return change


def _bytes(data):
    def change(folder):
        (folder / EXAMPLE).write_bytes(data)
        sum_again(folder)

    return change


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_example(embeddings=np.ones((10, 64), np.float32)), "does not repeat example.npz"),
        (_example(embeddings=np.full((10, 64), np.nan, np.float32)), "does not repeat example.npz"),
        (_example(images=np.zeros((10, 16, 16, 3), np.uint8)), "does not repeat example.npz"),
        (_example(images_33x48=np.zeros((2, 33, 48, 3), np.uint8)), "does not repeat example.npz"),
        (_example(images_5x5=np.zeros((2, 5, 5, 3), np.uint8)), "holds no array 'embeddings_5x5'"),
        (_example(images=np.zeros((10, 3, 16, 16), np.uint8)), "example.npz holds uint8 (10, 3, 16, 16)"),
        (_example(embeddings=np.ones((9, 64), np.float32)), "and float32 (9, 64), not"),
        (
            _example(images=np.array([None], object)),
            "cannot be read (it holds an array of objects",
        ),
        (_bytes(b"PK\x03\x04 not a zip"), "example.npz cannot be read"),
        (_bytes(b""), "example.npz cannot be read"),
    ],
)
def test_a_wrong_example_is_refused(folder, refuses, harm, message):
    harm(folder)
    assert message in refuses("verify", folder)


def _outside(tensor):
    onnx.external_data_helper.set_external_data(tensor, "../../outside.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def _initialiser(model):
    _outside(max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data)))


def _attribute(model):
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "value")
    _outside(tensor)
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


def _of_a_subgraph(model):
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "inner")
    _outside(tensor)
    branch = onnx.helper.make_graph([], "branch", [], [], initializer=[tensor])
    model.graph.node.append(
        onnx.helper.make_node("If", ["unused"], [], then_branch=branch, else_branch=branch)
    )


@pytest.mark.parametrize("place", [_initialiser, _attribute, _of_a_subgraph])
@pytest.mark.parametrize("command", ["verify", "embed"])
def test_weights_in_other_files_are_never_loaded(folder, refuses, tmp_path, place, command):
    (tmp_path.parent / "outside.bin").write_bytes(bytes(1 << 20))
    change_model(folder, place)
    arguments = {
        "verify": (folder,),
        "embed": (tmp_path / "x.png", "-o", tmp_path / "f.parquet", "--encoder", folder),
    }
    (tmp_path / "x.png").write_bytes(b"")
    message = refuses(command, *arguments[command])
    assert (
        "encoder.onnx keeps weights in another file ('../../outside.bin'), which is never loaded" in message
    )


def test_what_is_no_model_is_named(folder, refuses):
    (folder / MODEL).write_bytes(b"\xff" * 100)
    describe(folder, lambda about: about["variants"]["float32"].update(sha256=sha256_file(folder / MODEL)))
    assert "encoder.onnx is not an ONNX file" in refuses("verify", folder)


def test_operators_that_onnxruntime_does_not_know_are_refused(folder, refuses):
    change_model(folder, lambda model: setattr(model.graph.node[-1], "op_type", "Nonsense"))
    message = refuses("verify", folder)
    assert "refuses" in message
    assert "README.md" in message


def test_a_folder_that_is_no_export_is_named(refuses, tmp_path):
    assert f"{tmp_path}/{SUMS} is missing; is {tmp_path} an exported encoder?" in refuses("verify", tmp_path)
    assert "is not a folder; name the exported one" in refuses("verify", tmp_path / "nothing")
