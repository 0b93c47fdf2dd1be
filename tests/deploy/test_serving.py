"""`infocl serve`: each request is answered, or refused with a reason, at a bounded cost."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infocl.deploy.serving.limits import Limits, RequestError
from infocl.deploy.serving.requests import read_question
from tests.ports import free_port
from tests.workspace import ROOT

SECONDS = 900
INFER = "/v2/models/encoder/infer"
TOO_MANY = 65
PIXEL = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}


@contextmanager
def running(folder, place, *options):
    """The port of a server, which must stop by itself when it is asked to."""
    port = free_port()
    command = [sys.executable, "-m", "infocl", "serve", str(folder), "--port", str(port), *options]
    with (place / "server.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(10 * SECONDS):
                assert process.poll() is None, (place / "server.log").read_text()
                with suppress(OSError):
                    if ask(port, "/v2/health/ready").status == 200:
                        break
                time.sleep(0.1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
    text = (place / "server.log").read_text()
    assert code == 0, text
    assert "Traceback" not in text


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    with running(exported[0] / "exports/encoder", tmp_path_factory.mktemp("server")) as port:
        yield port


def ask(port, path, body=None, headers=None):
    """The answer, whose `content` is decoded where it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = connection.getresponse()
        answer.content = answer.read()
        if answer.headers.get_content_type() == "application/json":
            answer.content = json.loads(answer.content)
        return answer
    finally:
        connection.close()


def infer(port, **change):
    return ask(port, INFER, json.dumps({"inputs": [PIXEL | change]}))


def binary(images, size=None):
    """Body and headers of a request with the protocol's binary extension, both ways."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": images.shape}
    tensor["parameters"] = {"binary_data_size": images.nbytes if size is None else size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def embeddings(answer):
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer.content) - length
    return np.frombuffer(answer.content, "<f4", offset=length).reshape(output["shape"])


def figures(port):
    """The server's own figures, by name."""
    lines = ask(port, "/metrics").content.decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_json_and_binary_requests_give_the_example(server, exported):
    with np.load(exported[0] / "exports/encoder/example.npz") as example:
        for name in [name for name in example if name.startswith("images")]:
            images, expected = example[name], example[name.replace("images", "embeddings")]
            np.testing.assert_allclose(
                embeddings(ask(server, INFER, *binary(images))), expected, rtol=1e-4, atol=1e-6
            )
            answer = infer(server, shape=images.shape, data=images.tolist())
            (output,) = answer.content["outputs"]
            np.testing.assert_allclose(output["data"], expected.ravel(), rtol=1e-4, atol=1e-6)


WRONG_TENSORS = [
    ({"name": "picture"}, "the request has the inputs ['picture']; give one, image"),
    ({"datatype": "FP32"}, "image is FP32 [1, 1, 1, 3]; give UINT8 [N, H, W, 3]"),
    ({"shape": [1, 3, 1, 1]}, "image is UINT8 [1, 3, 1, 1]; give"),
    ({"shape": [1, 0, 1, 3]}, "image is UINT8 [1, 0, 1, 3]; give"),
    ({"shape": [1, 1, True, 3]}, "inputs.0.shape.2 is not usable"),
    ({"shape": None}, "inputs.0.shape is not usable"),
    ({"shape": [TOO_MANY, 1, 1, 3], "data": [0] * 3 * TOO_MANY}, "has 65 images, but 64 are the most"),
    ({"shape": [1, 1 << 40, 1 << 40, 3]}, "pixels, but 8388608 are the most"),
    ({"data": None}, "image has neither data nor binary_data_size"),
    ({"data": [1, 2]}, "image holds 2 numbers, but its shape has 3"),
    ({"data": [1, 2, 300]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, -1]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, 1.7]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, 3.0]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, True]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, None]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [1, 2, float("nan")]}, "something else than 3 whole numbers from 0 to 255"),
    ({"data": [[1, 2], 3]}, "something else than 3 whole numbers from 0 to 255"),
    ({"parameters": {"binary_data_size": 3}}, "image has both data and binary_data_size"),
]


@pytest.mark.parametrize(("change", "reason"), WRONG_TENSORS)
def test_a_wrong_tensor_is_told_what_to_give_and_the_server_goes_on(server, change, reason):
    answer = infer(server, **change)
    assert answer.status == 400
    assert reason in answer.content["error"]
    assert infer(server).status == 200


WRONG_BODIES = [
    (b"", {}, 400, "the request is not usable (Invalid JSON"),
    (b"null", {}, 400, "the request is not usable (Input should be an object)"),
    (b"[" * 100_000, {}, 400, "recursion limit exceeded"),
    (b'{"inputs": []}', {}, 400, "the request has the inputs []"),
    (b"{}", {"Inference-Header-Content-Length": "9" * 5000}, 400, "but the body has 2 bytes"),
    (b"{}", {"Inference-Header-Content-Length": "-1"}, 400, "but the body has 2 bytes"),
    (
        *binary(np.zeros((1, 9, 9, 3), np.uint8), size=7),
        400,
        "binary_data_size is 7, but 243 bytes follow",
    ),
    (*binary(np.zeros((1, 9, 9, 3), np.uint8), size=-1), 400, "binary_data_size is -1"),
    (binary(np.zeros((1, 9, 9, 3), np.uint8))[0], {}, 400, "Invalid JSON"),
    (b"{}", {"Content-Encoding": "gzip"}, 415, "send it as it is"),
    (b" " * (5 << 20), {}, 413, "5242880 bytes of JSON, but 4194304 are the most; send binary tensors"),
    (b" " * (40 << 20), {}, 413, "41943040 bytes, but 33554432 are the most; send fewer images"),
]


@pytest.mark.parametrize(("body", "headers", "status", "reason"), WRONG_BODIES, ids=range(12))
def test_a_wrong_body_is_told_why(server, body, headers, status, reason):
    answer = ask(server, INFER, body, headers)
    assert answer.status == status
    assert reason in answer.content["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(
    key=st.sampled_from(["name", "datatype", "shape", "data", "parameters"]),
    value=JSON,
    outer=st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), JSON),
    length=st.none() | st.text(max_size=3),
)
def test_whatever_a_request_holds_it_is_read_or_refused(key, value, outer, length):
    try:
        question = read_question(
            json.dumps(outer | {"inputs": [PIXEL | {key: value}]}).encode(), length, Limits()
        )
    except RequestError as refused:
        assert refused.status == 400
        assert refused.reason
    else:
        assert question.images.ravel().tolist() == [1, 2, 3] or key == "data"


def test_requests_that_wait_are_embedded_together_and_health_does_not_wait(server):
    heavy = binary(np.zeros((1, 2000, 2000, 3), np.uint8))
    light = binary(np.zeros((1, 8, 8, 3), np.uint8))
    deadline = time.monotonic() + SECONDS
    with ThreadPoolExecutor(24) as pool:
        while True:
            before = figures(server)
            busy = [pool.submit(ask, server, INFER, *heavy) for _ in range(8)]
            small = [pool.submit(ask, server, INFER, *light) for _ in range(16)]
            assert ask(server, "/v2/health/live").status == 200
            waited = not all(request.done() for request in busy)
            wait([*busy, *small])
            assert {request.result().status for request in (*busy, *small)} == {200}
            after = figures(server)
            images, runs = (
                after[f"infocl_batch_images_{part}"] - before[f"infocl_batch_images_{part}"]
                for part in ("sum", "count")
            )
            assert images == 24
            if runs < 24 and waited:
                break
            assert time.monotonic() < deadline, "none were ever embedded together, or health waited for all"
    assert len({request.result().content for request in small}) == 1


def half_sent(port, text):
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    connection.sendall(text)
    return connection


def test_half_sent_requests_are_ended_and_too_many_are_told_to_ask_later(exported, tmp_path):
    options = ("--max-waiting", "2", "--timeout", "5")
    with running(exported[0] / "exports/encoder", tmp_path, *options) as port:
        head = half_sent(port, b"POST /v2/models/enc")
        request = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf".encode()
        bodies = [half_sent(port, request) for _ in range(2)]
        while figures(port)["infocl_requests_inside"] < 2:
            time.sleep(0.05)
        answer = infer(port)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.content["error"] == "the server has 2 requests to answer; ask again later"
        assert ask(port, "/v2/health/ready").status == 200
        for connection in bodies:
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert head.recv(1000) == b""
        for connection in (head, *bodies):
            connection.close()
        found = figures(port)
        assert found["infocl_requests_inside"] == found["infocl_bytes_held"] == 0
        assert found['infocl_requests_total{status="503",transport="http"}'] == 1
        assert found['infocl_requests_total{status="408",transport="http"}'] == 2
        assert infer(port).status == 200
