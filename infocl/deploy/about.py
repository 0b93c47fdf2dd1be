"""`encoder.json` as a program reads it: which files there are, and what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from infocl.deploy.plain import LARGEST_TEXT, read_plain
from infocl.runtime.errors import UserError

ABOUT_FILE = "encoder.json"
FORMAT = 2
MEND = "ask for a complete export, or make it again (dvc repro export)"


def plain_name(name: str) -> str:
    """A file's name that cannot lead out of its folder.

    Raises:
        ValueError: it has a folder in it.
    """
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise ValueError(f"{name!r} is not the name of a file inside the folder")
    return name


FileName = Annotated[str, AfterValidator(plain_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Tensor(_Part):
    """An input or output; letters in its shape stand for any size."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: list[int | str]


class ModelFile(_Part):
    """An ONNX file.

    `relative_error` is the largest relative L2 error of an embedding against torch, `other_sizes_error` that
    of images of other sizes than the trained one.
    """

    file: FileName
    sha256: Sha256
    input: Tensor
    relative_error: float = Field(ge=0, le=1)
    other_sizes_error: float = Field(default=0.0, ge=0, le=1)


class Unshipped(_Part):
    """A variant that missed the export's limits."""

    shipped: Literal[False]
    reason: str


class Shipped(ModelFile):
    """A variant that is in the folder."""

    shipped: Literal[True]


class Example(_Part):
    """Images and embeddings to try a runtime with, and how near it must come."""

    file: FileName
    max_relative_error: float = Field(gt=0, le=0.01)


class Signature(_Part):
    """Of the checksums."""

    file: FileName


class About(_Part):
    """The parts of `encoder.json` that a program acts on."""

    format: Literal[2]
    dim: int = Field(gt=0)
    normalized: bool
    output: Tensor
    variants: dict[str, Shipped | Unshipped]
    float_input: ModelFile
    example: Example
    signature: Signature | None


class Export:
    """An exported folder, described by its `encoder.json`; `raw` is all of that.

    Raises:
        UserError: the folder, the file or a key is missing, of a wrong type, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; name the exported one, such as exports/encoder")
        self.folder = folder
        self.path = folder / ABOUT_FILE
        self.raw: dict[str, Any] = self._read()
        if self.raw.get("format") != FORMAT:
            raise UserError(
                f"{self.path} has format {self.raw.get('format')}, this version of infocl reads {FORMAT}; "
                "use the version that made it, or export again"
            )
        try:
            self.about = About.model_validate(self.raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise UserError(f"{self.path}: {key} is not usable ({first['msg']}); {MEND}") from None

    def _read(self) -> dict[str, Any]:
        data = read_plain(self.path, LARGEST_TEXT, f"is {self.folder} an exported encoder? If so, {MEND}")
        try:
            # Unlike the standard library's, this parser refuses deep nesting.
            raw = from_json(data, allow_inf_nan=False)
        except ValueError as error:
            raise UserError(f"{self.path} cannot be read ({error}); {MEND}") from None
        if not isinstance(raw, dict):
            raise UserError(f"{self.path} does not hold a JSON object; {MEND}")
        return raw

    @property
    def shipped(self) -> dict[str, Shipped]:
        """The variants that are in the folder, by name."""
        return {name: row for name, row in self.about.variants.items() if isinstance(row, Shipped)}

    def variant(self, name: str) -> Shipped:
        """A shipped variant.

        Raises:
            UserError: there is none of that name.
        """
        row = self.about.variants.get(name)
        if isinstance(row, Shipped):
            return row
        why = f" ({row.reason})" if row else ""
        raise UserError(f"{self.folder} ships no variant {name}{why}; choose of {', '.join(self.shipped)}")
