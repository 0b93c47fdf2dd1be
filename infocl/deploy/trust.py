"""From a folder that anyone may have made to an encoder that may be used."""

from __future__ import annotations

from pathlib import Path

from infocl.deploy.example import read_example, repeat_example
from infocl.deploy.exported import Export
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.sums import check_signature, check_sums


def open_trusted(folder: Path, variant: str, signers: Path | None) -> OnnxEncoder:
    """Open a variant once the folder's sums are right, and repeat its example with it.

    Args:
        folder: the exported one.
        variant: one that it ships.
        signers: file of allowed signers as in ssh-keygen(1); a signature by one of them is then demanded.

    Raises:
        UserError: a file is missing or altered, the signature does not hold, the folder is not an export, or
            the variant does not give the example's embeddings on this machine.
    """
    check_sums(folder)
    if signers is not None:
        check_signature(folder, signers, promised=False)
    encoder = OnnxEncoder(Export(folder), variant)
    repeat_example(encoder, read_example(encoder.export))
    return encoder
