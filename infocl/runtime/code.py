"""What code does, as one hash, whatever its comments and its layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_sha256(rooms: Iterable[str]) -> str:
    """One hash over the sources in these folders of the package, without comments and docstrings."""
    digest = hashlib.sha256()
    for file in sorted(file for room in rooms for file in (PACKAGE / room).rglob("*.py")):
        meaning = _meaning(file.read_bytes())
        digest.update(f"{file.relative_to(PACKAGE).as_posix()}\n{meaning}\n".encode())
    return digest.hexdigest()


@cache
def _meaning(source: bytes) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)
