"""Folders that a stranger sends: every command refuses them by one line, at once, and loads nothing."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import onnx
from PIL import Image

from infocl.deploy import apart
from tests.deploy.test_verify import ABOUT, EXAMPLE, MODEL, SUMS, change_model, describe, sum_again
from tests.workspace import ROOT

SECONDS = 900
MEMORY = 4 << 30


def replace_by_pipe(name):
    def harm(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return harm


def fails_while_running(folder):
    """Sound on its face: operators, types and shapes fit, but it looks beyond the end of an embedding."""
    dim = json.loads((folder / ABOUT).read_text())["dim"]

    def change(model):
        (last,) = [node for node in model.graph.node if "embedding" in node.output]
        last.output[0] = "found"
        beyond = onnx.numpy_helper.from_array(np.full(dim, 1 << 20, np.int64), "beyond")
        model.graph.initializer.append(beyond)
        model.graph.node.append(onnx.helper.make_node("Gather", ["found", "beyond"], ["embedding"], axis=1))

    change_model(folder, change)


def loops_without_end(folder):
    def change(model):
        true = onnx.numpy_helper.from_array(np.array(True), "true")
        body = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["go"], ["on"])],
            "body",
            [
                onnx.helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
                onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            ],
            [onnx.helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, [])],
        )
        model.graph.initializer.append(true)
        model.graph.node.append(onnx.helper.make_node("Loop", ["", "true"], [], body=body))

    change_model(folder, change)


def takes_all_memory(folder):
    """Four times as many bytes as a check may have."""

    def change(model):
        size = onnx.numpy_helper.from_array(np.array([MEMORY], np.int64), "how_many")
        model.graph.initializer.append(size)
        (last,) = [node for node in model.graph.node if "embedding" in node.output]
        last.output[0] = "found"
        for node in (
            onnx.helper.make_node("ConstantOfShape", ["how_many"], ["huge"]),
            onnx.helper.make_node("ReduceMax", ["huge"], ["largest"], keepdims=0),
            onnx.helper.make_node("Add", ["found", "largest"], ["embedding"]),
        ):
            model.graph.node.append(node)

    change_model(folder, change)


def computes_for_hours(folder):
    """Plain products of matrices, one after the other."""

    def change(model):
        size = onnx.numpy_helper.from_array(np.array([4096, 4096], np.int64), "hours_sides")
        model.graph.initializer.append(size)
        (last,) = [node for node in model.graph.node if "embedding" in node.output]
        last.output[0] = "found"
        model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["hours_sides"], ["hours0"]))
        for number in range(10_000):
            names = [f"hours{number}", "hours0"], [f"hours{number + 1}"]
            model.graph.node.append(onnx.helper.make_node("MatMul", *names))
        model.graph.node.append(onnx.helper.make_node("ReduceMax", ["hours10000"], ["largest"], keepdims=0))
        model.graph.node.append(onnx.helper.make_node("Add", ["found", "largest"], ["embedding"]))

    change_model(folder, change)


def unfolds_without_end(folder):
    """A function that calls one twice that calls one twice, 40 deep."""

    def change(model):
        version = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("mine", 1)]
        model.opset_import.append(version[1])
        for depth in range(40):
            kind = f"f{depth - 1}" if depth else "Neg"
            nodes = [
                onnx.helper.make_node(kind, [a], [b], domain="mine" if depth else "") for a, b in ("ab", "bc")
            ]
            model.functions.append(
                onnx.helper.make_function("mine", f"f{depth}", ["a"], ["c"], nodes, version)
            )
        (last,) = [node for node in model.graph.node if "embedding" in node.output]
        last.output[0] = "found"
        model.graph.node.append(onnx.helper.make_node("f39", ["found"], ["embedding"], domain="mine"))

    change_model(folder, change)


def pretend_rounding(folder):
    """Other weights, which a folder that may say how far off it is would pass."""

    def retrain(model):
        tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        weights = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights[::-1].copy(), tensor.name))

    change_model(folder, retrain, "encoder.fp16.onnx", "float16")
    describe(folder, lambda about: about["variants"]["float16"].update(relative_error=1.0))


def give_example(data):
    def harm(folder):
        (folder / EXAMPLE).write_bytes(data)
        sum_again(folder)

    return harm


def one_array():
    stream = io.BytesIO()
    np.save(stream, np.zeros((10, 16, 16, 3), np.uint8))
    return stream.getvalue()


def header_of_three_pebibytes():
    head, stream = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (3 << 50, 1, 1, 3)}
    )
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images.npy", head.getvalue())
    return stream.getvalue()


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(300 << 20))
    return stream.getvalue()


def give_deep_json(folder):
    (folder / ABOUT).write_text('{"format":' + "[" * 200_000 + "]" * 200_000 + "}")
    sum_again(folder)


def pretend_tolerance(folder):
    describe(folder, lambda about: about["example"].update(max_relative_error=9.0))


def hide_a_huge_file(folder):
    with (folder / "README.md").open("wb") as stream:
        stream.truncate(1 << 40)


HARMS = {
    "pipe for the sums": (replace_by_pipe(SUMS), f"{SUMS} is not a plain file"),
    "pipe for the description": (replace_by_pipe(ABOUT), f"{ABOUT} is not a plain file"),
    "pipe for the model": (replace_by_pipe(MODEL), f"{MODEL} is not a plain file"),
    "huge file": (hide_a_huge_file, " has 1099.5 GB, but 8.6 GB are the most"),
    "error while running": (fails_while_running, f"cannot run .*{MODEL} on images"),
    "all memory": (takes_all_memory, f"cannot run .*{MODEL} on images"),
    "endless loop": (loops_without_end, f"{MODEL} contains the operator Loop"),
    "unfolds without end": (unfolds_without_end, f"{MODEL} contains the function f0"),
    "npy named npz": (give_example(one_array()), f"{EXAMPLE} cannot be read"),
    "header of 3 PiB": (give_example(header_of_three_pebibytes()), "a header says .*, but 0 numbers follow"),
    "zip bomb": (give_example(zip_bomb()), f"{EXAMPLE} cannot be read .it unpacks to"),
    "deep JSON": (give_deep_json, f"{ABOUT} cannot be read .recursion limit"),
    "own tolerance": (pretend_tolerance, "example.max_relative_error is not usable"),
}
# Without a process of its own, an endless wait or a full memory would take the test along.
RUN = """
import resource, sys
from infocl.cli.main import app
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
for arguments in {commands}:
    try:
        app(arguments, standalone_mode=False)
    except SystemExit as end:
        print(f"exit {{end.code}}", file=sys.stderr)
"""


def test_every_command_refuses_every_hostile_folder_in_time(folder, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    commands, expected = [], []
    for number, (harm, message) in enumerate(HARMS.values()):
        hostile = shutil.copytree(folder, tmp_path / f"hostile{number}")
        harm(hostile)
        embed = ["embed", str(tmp_path / "a.png"), "-o", str(tmp_path / "f.parquet"), "--encoder"]
        triton = ["triton", str(hostile), str(tmp_path / "models")]
        commands += [["verify", str(hostile)], [*embed, str(hostile)], ["serve", str(hostile)], triton]
        expected += [f"infocl: .*{message}"] * 4
    program = [sys.executable, "-c", RUN.format(memory=MEMORY, commands=commands)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=SECONDS)
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["exit 2"] * len(commands), done.stderr
    for line, wanted in zip(lines[::2], expected, strict=True):
        assert re.match(wanted, line), line
    assert not (tmp_path / "f.parquet").exists()
    assert not (tmp_path / "models").exists()


def test_what_never_ends_is_ended(folder, refuses, monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 10.0)
    computes_for_hours(folder)
    assert " takes more than 10 s to check; do not use it" in refuses("verify", folder)


def test_a_folder_does_not_say_itself_how_far_off_it_may_be(folder, refuses):
    pretend_rounding(folder)
    assert "float16" not in refuses("embed", folder / "no.png", "-o", "f.parquet", "--encoder", folder)
    assert "encoder.fp16.onnx does not repeat example.npz" in refuses("verify", folder)


def test_no_code_of_the_current_folder_is_run(folder, infocl, monkeypatch):
    (folder.parent / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(folder.parent)
    assert infocl("verify", folder).exit_code == 0
