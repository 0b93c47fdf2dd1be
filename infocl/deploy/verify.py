"""`infocl verify`: whether an exported folder is whole, is what it says, and computes what it promises."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from infocl.deploy.apart import ALL, try_models
from infocl.deploy.exported import Export
from infocl.deploy.sums import check_signature, check_sums
from infocl.results.card import HINT
from infocl.runtime.errors import UserError
from infocl.runtime.text import counted


def verify_folder(folder: Path, signers: Path | None) -> None:
    """Check a folder and print one line for each check.

    The arguments are those of `infocl verify`.

    Raises:
        UserError: the first check that fails, with the file and the fix.
    """
    print(f"sums       {counted(check_sums(folder), 'file')}, all as SHA256SUMS lists them, and no other")
    export = Export(folder)
    promised = export.card.signature is not None
    print(f"signature  {check_signature(folder, signers, promised=promised)}", flush=True)
    _check_no_other_models(export)
    for line in try_models(folder, ALL):
        print(line, flush=True)
    print(f"{folder} is sound (onnxruntime {onnxruntime.__version__}).")


def _check_no_other_models(export: Export) -> None:
    described = {file.file for file in (*export.shipped.values(), export.card.float_input)}
    for path in sorted(export.folder.glob("*.onnx")):
        if path.name not in described:
            raise UserError(f"{path} is not described by encoder.json; remove it, or {HINT}")
