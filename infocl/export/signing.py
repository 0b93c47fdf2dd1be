"""A signature over the checksums by OpenSSH, which is installed almost everywhere and needs no service."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from infocl.results.card import SIGNATURE_NAMESPACE, SIGNATURE_SUFFIX
from infocl.runtime.errors import UserError

SECONDS = 60


def fingerprint(key: str) -> str:
    """The fingerprint of a key, such as "SHA256:...", which tells nothing of who made it or where it lies.

    Raises:
        UserError: ssh-keygen is not installed, or there is no key in the file.
    """
    return _ssh_keygen(["-l", "-f", _path(key)], key).split()[1]


def sign(file: Path, key: str) -> Path:
    """Write the signature of a file beside it, as `ssh-keygen -Y verify -n infocl-encoder` checks it.

    Args:
        file: what is signed.
        key: path of a private key without a passphrase, or of a public key whose private half an agent holds.

    Raises:
        UserError: the key cannot sign.
    """
    _ssh_keygen(["-q", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", _path(key), str(file)], key)
    return file.with_name(file.name + SIGNATURE_SUFFIX)


def _path(key: str) -> str:
    return str(Path(key).expanduser())


def _ssh_keygen(arguments: list[str], key: str) -> str:
    hint = "name a private key without a passphrase, or the public half of one that ssh-agent holds"
    environment = os.environ | {"SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
            start_new_session=True,  # without a terminal, so that it cannot wait for a passphrase
        )
    except FileNotFoundError:
        raise UserError(
            "export.signing_key is set, but ssh-keygen is not installed; install OpenSSH"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"export.signing_key {key} does not answer within {SECONDS} s; {hint}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"export.signing_key {key} cannot be used ({lines[-1].strip()}); {hint}")
    return done.stdout
