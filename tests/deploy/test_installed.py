"""What `pip install infocl[embed]` and `infocl[serve]` give on a machine without this environment."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.ports import free_port
from tests.workspace import ROOT

APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # its text as published
SECONDS = 900  # for pip on a slow line
CLIENT = "tritonclient[http,grpc]==2.73.0"  # the protocol is held to by another party
ASK = """
import sys, numpy as np
from tritonclient import grpc, http
images, found = np.load(sys.argv[3]), []
for kind, address in ((http, sys.argv[1]), (grpc, sys.argv[2])):
    client = kind.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("encoder")
    about, server = client.get_model_metadata("encoder"), client.get_server_metadata()
    read = dict.get if kind is http else getattr
    (image,), (embedding,) = read(about, "inputs"), read(about, "outputs")
    told = [
        [read(of, "name"), read(of, "datatype"), *map(int, read(of, "shape"))] for of in (image, embedding)
    ]
    assert told == [["image", "UINT8", -1, -1, -1, 3], ["embedding", "FP32", -1, 64]], told
    assert read(server, "extensions") == ["binary_tensor_data"]
    request = kind.InferInput("image", images.shape, "UINT8")
    request.set_data_from_numpy(images)
    found.append(client.infer("encoder", [request], request_id="mine").as_numpy("embedding"))
    wrong = kind.InferInput("image", [1, 5, 5, 4], "UINT8")
    wrong.set_data_from_numpy(np.zeros((1, 5, 5, 4), np.uint8))
    try:
        client.infer("encoder", [wrong])
    except Exception as error:
        assert "image is UINT8 [1, 5, 5, 4]; give UINT8 [N, H, W, 3]" in str(error), error
    else:
        raise AssertionError("four channels were taken")
    client.close()
client = http.InferenceServerClient(sys.argv[1])
for binary in (True, False):
    outputs = [http.InferRequestedOutput("embedding", binary_data=binary)]
    request = http.InferInput("image", images.shape, "UINT8")
    request.set_data_from_numpy(images, binary_data=binary)
    found.append(client.infer("encoder", [request], outputs=outputs).as_numpy("embedding"))
np.save(sys.argv[4], np.stack(found))
"""
PARSE = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
config = text_format.Parse(open(sys.argv[1]).read(), ModelConfig())
print(json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True)))
"""


class Installation:
    """An environment with the package in it, installed as a user would."""

    def __init__(self, folder):
        self.source, self.bin = folder / "source", folder / "venv/bin"
        self.pip = (sys.executable, "-m", "pip", "--python", self.bin / "python")
        self.source.mkdir()
        shutil.copytree(
            ROOT / "infocl", self.source / "infocl", ignore=shutil.ignore_patterns("node_modules")
        )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.source)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)

    def install(self, *packages, pinned=True):
        pins = ["-c", ROOT / "requirements.lock"] if pinned else []
        command = (*self.pip, "install", "-q", "--no-compile", *pins, *packages)
        subprocess.run(command, check=True, timeout=SECONDS)

    def run(self, *command, cwd):
        """Run a program of the environment, away from the project."""
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=cwd,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def embed_only(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("installed"))
    installation.install(f"{installation.source}[embed]")
    return installation


@pytest.fixture(scope="module")
def packages(embed_only):
    """Names of what is installed before the rest comes."""
    done = subprocess.run((*embed_only.pip, "list", "--format", "json"), capture_output=True, check=True)
    return {row["name"].lower() for row in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def served(embed_only, packages):
    embed_only.install(f"{embed_only.source}[serve]")
    embed_only.install(CLIENT, pinned=False)  # it wants an older protobuf
    return embed_only


def test_embed_brings_no_torch_and_works(embed_only, packages, folder, tmp_path):
    heavy = {
        "torch",
        "torchvision",
        "kornia",
        "dvc",
        "prefect",
        "scikit-learn",
        "scipy",
        "starlette",
        "pandas",
    }
    assert not packages & heavy
    assert {"onnxruntime", "pillow", "pyarrow"} <= packages
    assert len(packages) < 30
    with np.load(folder / "example.npz") as arrays:
        images, expected = arrays["images"], arrays["embeddings"]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    done = embed_only.run("infocl", "embed", tmp_path, "-o", "f.parquet", "--encoder", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.array(pq.read_table(tmp_path / "f.parquet")["embedding"].to_pylist())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    done = embed_only.run("infocl", "verify", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_licence_and_the_types_come_with_the_package(embed_only, tmp_path):
    show = """
from importlib.metadata import distribution
found = distribution("infocl")
print(found.metadata["License-Expression"], *(f for f in found.files if f.name in ("LICENSE", "py.typed")))
print(found.read_text("licenses/LICENSE"), end="")
"""
    done = embed_only.run("python", "-c", show, cwd=tmp_path)
    message, text = done.stdout.split("\n", 1)
    assert message == "Apache-2.0 infocl-0.1.0.dist-info/licenses/LICENSE infocl/py.typed", done.stderr
    assert text == (ROOT / "LICENSE").read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE_2_0
    (tmp_path / "user.py").write_text("from infocl.runtime.text import percent\n\npercent(share=None)\n")
    check = ["-m", "mypy", "--python-executable", embed_only.bin / "python", "user.py"]
    typed = subprocess.run(
        [sys.executable, *check], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 'has incompatible type "None"; expected "float"' in typed.stdout


def ask(port, path, body=None, host="127.0.0.1"):
    """The status and JSON answer of a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{host}:{port}{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@contextmanager
def running(served, folder, place, *options, host="127.0.0.1"):
    """The ports of a running server, HTTP and gRPC, which must stop by itself when asked to."""
    ports = free_port(), free_port()
    with (place / "server.log").open("w+") as log:
        arguments = ["serve", folder, "--port", str(ports[0]), "--grpc-port", str(ports[1]), *options]
        command = [served.bin / "infocl", *arguments]
        process = subprocess.Popen(command, cwd=place, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, ports[0], place / "server.log", host)
            yield ports
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
    assert code == 0, (place / "server.log").read_text()


@pytest.fixture(scope="module")
def ports(served, exported, tmp_path_factory):
    with running(served, exported[0] / "exports/encoder", tmp_path_factory.mktemp("server")) as ports:
        yield ports


def _wait(process, port, log, host):
    for _ in range(10 * SECONDS):
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            if ask(port, "/v2/health/ready", host=host) == (200, {"ready": True}):
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_the_server_answers_other_peoples_clients_as_the_example_says(ports, served, folder, tmp_path):
    with np.load(folder / "example.npz") as arrays:
        images, expected = arrays["images"], arrays["embeddings"]
    np.save(tmp_path / "images.npy", images)
    places = [f"127.0.0.1:{port}" for port in ports]
    done = served.run("python", "-c", ASK, *places, "images.npy", "found.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for found in np.load(tmp_path / "found.npy"):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def addresses(port):
    """At which of two addresses of this machine a port answers."""
    found = set()
    for address in ("127.0.0.1", "127.0.0.2"):
        with suppress(ConnectionRefusedError), socket.create_connection((address, port), timeout=SECONDS):
            found.add(address)
    return found


def test_only_the_address_of_host_is_answered(ports, served, folder, tmp_path):
    """127.0.0.2 stands for another network interface: a server on all of them answers there as well."""
    assert [addresses(port) for port in ports] == [{"127.0.0.1"}] * 2
    with running(served, folder, tmp_path, "--host", "127.0.0.2", host="127.0.0.2") as others:
        assert [addresses(port) for port in others] == [{"127.0.0.2"}] * 2


def test_a_taken_port_and_a_wrong_folder_are_one_line(served, folder, tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = served.run("infocl", "serve", folder, "--port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    message = (
        f"infocl: --host 127.0.0.1 --port {port} cannot be used (Address already in use); name another\n"
    )
    assert done.stderr == message
    done = served.run("infocl", "serve", folder, "--host", "192.0.2.1", cwd=tmp_path)  # of no machine
    assert done.returncode == 2
    assert done.stderr.startswith("infocl: --host 192.0.2.1 --port 8080 cannot be used (Cannot assign")
    done = served.run("infocl", "serve", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_tritons_own_schema_reads_the_config(served, folder, tmp_path, variant):
    done = served.run("infocl", "triton", folder, "models", "--variant", variant, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    parsed = served.run("python", "-c", PARSE, "models/encoder/config.pbtxt", cwd=tmp_path)
    assert parsed.returncode == 0, parsed.stderr
    about = json.loads((folder / "encoder.json").read_text())
    sha256 = about["variants"][variant]["sha256"]
    assert json.loads(parsed.stdout) == {
        "name": "encoder",
        "platform": "onnxruntime_onnx",
        "max_batch_size": 64,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["-1", "-1", "3"]}],
        "output": [{"name": "embedding", "data_type": "TYPE_FP32", "dims": ["64"]}],
        "dynamic_batching": {},
        "parameters": {"encoder_sha256": {"string_value": sha256}},
    }
