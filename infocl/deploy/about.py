"""`encoder.json` as a program reads it: which files there are, and what they promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infocl.errors import UserError
from infocl.files import read_json

ABOUT_FILE = "encoder.json"
FORMAT = 2
MEND = "ask for a complete export, or make it again (dvc repro export)"
T = TypeVar("T")


@dataclass(frozen=True)
class ModelFile:
    """One ONNX file of the folder.

    `input` has name, dtype and shape, where a letter stands for any size; `relative_error` is the largest
    relative L2 error of an embedding against torch.
    """

    variant: str
    name: str
    sha256: str
    bytes: int
    input: Mapping[str, Any]
    relative_error: float


@dataclass(frozen=True)
class About:
    """The parts of `encoder.json` that a program acts on; `raw` is all of it."""

    folder: Path
    dim: int
    image_size: int
    normalized: bool
    output: Mapping[str, Any]
    variants: Mapping[str, ModelFile]
    float_input: ModelFile
    example_file: str
    example_tolerance: float
    signed: bool
    raw: Mapping[str, Any]

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """All ONNX files, those for prepared images last."""
        return (*self.variants.values(), self.float_input)

    def variant(self, name: str) -> ModelFile:
        """A shipped variant.

        Raises:
            UserError: there is none of that name.
        """
        if name in self.variants:
            return self.variants[name]
        row = self.raw["variants"].get(name)
        why = f" ({row['reason']})" if isinstance(row, dict) and isinstance(row.get("reason"), str) else ""
        raise UserError(
            f"{self.folder} ships no variant {name}{why}; choose one of {', '.join(self.variants)}"
        )


def read_about(folder: Path) -> About:
    """Read `encoder.json` of an exported folder.

    Raises:
        UserError: the folder, the file or a key is missing, of a wrong type, or of another format.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name the exported one, such as exports/encoder")
    path = folder / ABOUT_FILE
    raw = read_json(path, f"is {folder} an exported encoder? If so, {MEND}")
    if raw.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {raw.get('format')}, but this version of infocl reads {FORMAT}; "
            "install the version that made it, or export again"
        )
    example = take(raw, "example", dict, path)
    rows = take(raw, "variants", dict, path)
    shipped = {
        name: row for name, row in rows.items() if isinstance(row, dict) and row.get("shipped") is True
    }
    if "float32" not in shipped:
        raise UserError(f"{path} ships no variant float32; {MEND}")
    return About(
        folder=folder,
        dim=take(raw, "dim", int, path),
        image_size=take(raw, "image_size", int, path),
        normalized=take(raw, "normalized", bool, path),
        output=take(raw, "output", dict, path),
        variants={name: _model_file(name, row, path) for name, row in shipped.items()},
        float_input=_model_file("float32", take(raw, "float_input", dict, path), path),
        example_file=plain_name(take(example, "file", str, path), path),
        example_tolerance=take(example, "max_relative_error", float, path),
        signed=raw.get("signature") is not None,
        raw=raw,
    )


def take(mapping: Mapping[str, Any], key: str, kind: type[T], path: Path) -> T:
    """The value of a key, of exactly this type.

    Raises:
        UserError: it is missing or of another type.
    """
    value = mapping.get(key)
    if type(value) is not kind:
        raise UserError(f"{path}: {key} is not {_NAMES[kind]}; {MEND}")
    return value


def plain_name(name: str, path: Path) -> str:
    """A file's name that cannot lead out of the folder.

    Raises:
        UserError: it has a folder in it.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UserError(f"{path} names the file {name!r}, which is not inside its folder; {MEND}")
    return name


_NAMES = {int: "a whole number", bool: "true or false", dict: "an object", str: "a text", float: "a number"}


def _model_file(variant: str, row: Mapping[str, Any], path: Path) -> ModelFile:
    return ModelFile(
        variant=variant,
        name=plain_name(take(row, "file", str, path), path),
        sha256=take(row, "sha256", str, path),
        bytes=take(row, "bytes", int, path),
        input=take(row, "input", dict, path),
        relative_error=take(row, "relative_error", float, path),
    )
