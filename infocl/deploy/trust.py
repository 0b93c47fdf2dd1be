"""From a folder that anyone may have made to an export that may be used."""

from __future__ import annotations

from pathlib import Path

from infocl.deploy.apart import try_models
from infocl.deploy.exported import Export
from infocl.deploy.sums import check_signature, check_sums


def open_trusted(folder: Path, variant: str, signers: Path | None) -> Export:
    """Open a folder once its sums are right and the variant has repeated the example, in another process.

    Args:
        folder: the exported one.
        variant: one that it ships.
        signers: file of allowed signers as in ssh-keygen(1); a signature by one of them is then demanded.

    Raises:
        UserError: a file is missing or altered, the signature does not hold, the folder is not an export, or
            the variant does not give the example's embeddings on this machine, in bounded time and memory.
    """
    check_sums(folder)
    if signers is not None:
        check_signature(folder, signers, promised=False)
    export = Export(folder)
    export.variant(variant)
    for _ in try_models(folder, variant):
        pass
    return export
