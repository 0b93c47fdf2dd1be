"""A server that speaks S3, on this machine."""

from __future__ import annotations

from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "tester",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def served_bucket(monkeypatch, name="infocl"):
    """An empty bucket: the server's address and a client of it."""
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=name)
    try:
        yield url, client
    finally:
        server.stop()
