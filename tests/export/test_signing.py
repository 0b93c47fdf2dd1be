"""Signatures by the real ssh-keygen: made with a key, checked by its public half, void after a change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from infocl.export.exporter import export_encoder
from infocl.export.signing import fingerprint, sign
from infocl.results.card import SIGNATURE_NAMESPACE
from infocl.runtime.errors import UserError
from tests.tiny_run import tiny_params


def make_key(path, passphrase=""):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "someone@a-machine", "-f", path],
        check=True,
    )
    return path


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path / "key")


def verified(file, key, namespace=SIGNATURE_NAMESPACE):
    signers = key.with_name("allowed_signers")
    signers.write_text(f'team namespaces="{namespace}" {key.with_suffix(".pub").read_text()}')
    command = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        signers,
        "-I",
        "team",
        "-n",
        namespace,
        "-s",
        f"{file}.sig",
    ]
    with file.open() as stream:
        return subprocess.run(command, stdin=stream, capture_output=True).returncode == 0


def test_a_signature_holds_for_this_file_this_key_and_this_use(tmp_path, key):
    file = tmp_path / "SHA256SUMS"
    file.write_text("abc\n")
    assert sign(file, str(key)) == tmp_path / "SHA256SUMS.sig"
    assert verified(file, key)
    assert not verified(file, key, namespace="file")
    assert not verified(file, make_key(tmp_path / "other"))
    file.write_text("abd\n")
    assert not verified(file, key)


def test_the_fingerprint_is_the_keys_and_names_nobody(key):
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True).stdout
    assert fingerprint(str(key)) == shown.split()[1]
    assert fingerprint(str(key)).startswith("SHA256:")


def test_a_signed_export_is_checked_by_its_own_command_and_is_the_same_again(project, key):
    folder = Path("exports/encoder")
    export_encoder(tiny_params(signing_key=str(key)))
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "SHA256SUMS.sig" not in first["SHA256SUMS"].decode()
    message = json.loads(first["encoder.json"])["signature"]
    assert message["key"] == fingerprint(str(key))
    assert message["check"] in first["README.md"].decode()
    (folder.parent / "ALLOWED_SIGNERS").write_text(f"SIGNER {key.with_suffix('.pub').read_text()}")
    command = message["check"].replace("ALLOWED_SIGNERS", "../ALLOWED_SIGNERS")
    assert subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True).returncode == 0
    everything = b"".join(first.values())
    assert b"someone@a-machine" not in everything
    assert str(key).encode() not in everything
    export_encoder(tiny_params(signing_key=str(key)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"export\.signing_key .*missing cannot be used \(.*No such file.*\); name a private key"),
        ("text", r"export\.signing_key .*text cannot be used .*; name a private key"),
        (
            "locked",
            r"export\.signing_key .*locked cannot be used .*; name a private key without a passphrase",
        ),
    ],
)
def test_a_key_that_cannot_sign_is_named_and_nothing_is_touched(project, tmp_path, name, message):
    (tmp_path / "text").write_text("no key\n")
    make_key(tmp_path / "locked", passphrase="secret words")
    before = {path.name: path.read_bytes() for path in Path("exports/encoder").iterdir()}
    with pytest.raises(UserError, match=message) as caught:
        export_encoder(tiny_params(signing_key=str(tmp_path / name)))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in Path("exports/encoder").iterdir()} == before
    assert [path.name for path in Path("exports").iterdir()] == ["encoder"]
