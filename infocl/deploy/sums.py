"""The checksums of an exported folder, and the signature over them by OpenSSH."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infocl.deploy.plain import COPY_AGAIN, LARGEST_FILE, LARGEST_TEXT, open_plain, read_plain
from infocl.results.card import HINT, SIGNATURE_NAMESPACE, SIGNATURE_SUFFIX, plain_name
from infocl.runtime.errors import UserError
from infocl.runtime.text import file_size

SUMS_FILE = "SHA256SUMS"
SIGNATURE_FILE = SUMS_FILE + SIGNATURE_SUFFIX
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
LARGEST_FOLDER = 4 * LARGEST_FILE
SECONDS = 60


def check_sums(folder: Path) -> int:
    """Hold every file of the folder to `SHA256SUMS`; returns how many there are.

    Raises:
        UserError: a file is missing, altered, not listed, too large or not a plain file, or the list is
            damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name the exported one, such as exports/encoder")
    listed = _listed(folder / SUMS_FILE)
    size = 0
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not entry.is_file():
            raise UserError(f"{entry} is not a plain file; {COPY_AGAIN}, links followed")
        if entry.name not in (*listed, SUMS_FILE, SIGNATURE_FILE):
            raise UserError(f"{entry} is not listed in {SUMS_FILE}; remove it or {COPY_AGAIN}")
        size += entry.stat().st_size
    if size > LARGEST_FOLDER:
        raise UserError(
            f"{folder} has {file_size(size)}, but {file_size(LARGEST_FOLDER)} are the most; {COPY_AGAIN}"
        )
    for name, expected in listed.items():
        path = folder / name
        with open_plain(path, LARGEST_FILE, f"{SUMS_FILE} lists it, so {COPY_AGAIN}") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise UserError(f"{path} is damaged or altered (SHA-256 differs from {SUMS_FILE}); {COPY_AGAIN}")
    return len(listed)


def _listed(path: Path) -> dict[str, str]:
    data = read_plain(path, LARGEST_TEXT, f"is {path.parent} an exported encoder? If so, {HINT}")
    try:
        lines = data.decode().splitlines()
    except ValueError:
        raise UserError(f"{path} is not text; {COPY_AGAIN}") from None
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line)
        if not found or found[2] in listed:
            raise UserError(f"{path}, line {number} is not a SHA-256 and a new file name; {COPY_AGAIN}")
        try:
            listed[plain_name(found[2])] = found[1]
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}; {COPY_AGAIN}") from None
    if not listed:
        raise UserError(f"{path} lists no files; {COPY_AGAIN}")
    return listed


def check_signature(folder: Path, signers: Path | None, *, promised: bool) -> str:
    """Check who signed `SHA256SUMS`.

    Args:
        folder: the exported one.
        signers: file of allowed signers as in ssh-keygen(1), had from elsewhere than the folder; None
            checks only that the signature belongs to the sums.
        promised: `encoder.json` says that there is one.

    Returns:
        What was found, for people.

    Raises:
        UserError: it is missing although promised or demanded, is not of these sums, or not of a signer.
    """
    signature = folder / SIGNATURE_FILE
    if not signature.exists():
        if signers is not None:
            raise UserError(f"{folder} is not signed; ask for a signed export, or leave out --signers")
        if promised:
            raise UserError(f"{signature} is missing, but encoder.json says that it is there; {COPY_AGAIN}")
        return "none; the sums tell of damage, not of who made the folder"
    named = ["-n", SIGNATURE_NAMESPACE, "-s", str(signature)]
    if signers is None:
        lines = _ssh_keygen(folder, ["-Y", "check-novalidate", *named])
        return f"of these sums ({lines}); name those you trust with --signers to check who made it"
    if not signers.is_file():
        raise UserError(
            f"--signers {signers} is not a file; name one of allowed signers, as ssh-keygen reads it"
        )
    who = _ssh_keygen(folder, ["-Y", "find-principals", "-s", str(signature), "-f", str(signers)])
    _ssh_keygen(folder, ["-Y", "verify", *named, "-I", who, "-f", str(signers)])
    return f"by {who}"


def _ssh_keygen(folder: Path, arguments: Sequence[str]) -> str:
    """The first line that ssh-keygen says of `SHA256SUMS`."""
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            input=(folder / SUMS_FILE).read_bytes(),
            capture_output=True,
            env=os.environ | {"LC_ALL": "C"},
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            "ssh-keygen is not installed, so the signature cannot be checked; install OpenSSH"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"ssh-keygen did not check {folder / SIGNATURE_FILE} within {SECONDS} s; {COPY_AGAIN}"
        ) from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or [
            "no reason given"
        ]
        raise UserError(
            f"{folder / SIGNATURE_FILE} does not sign {SUMS_FILE} by an allowed signer ({lines[-1]}); "
            "do not use the folder until its maker has explained that"
        )
    return done.stdout.decode(errors="replace").strip().splitlines()[0]
