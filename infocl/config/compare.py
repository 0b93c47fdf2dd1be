"""What the trained encoder is compared with."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from infocl.runtime.schema import Auto, Model


class ImportedParams(Model):
    """An encoder that was trained elsewhere: its file and the SHA-256 of it; no file, no encoder."""

    file: str
    sha256: str
    image_size: Annotated[int, Field(ge=8, le=1024)] | Auto

    @model_validator(mode="after")
    def _sum_of_a_file(self) -> ImportedParams:
        if self.sha256 and not self.file:
            raise ValueError("compare.imported.sha256 is given, but no compare.imported.file; name the file")
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(
                f"compare.imported.sha256 is {self.sha256!r}, but must be 64 of the digits 0-9 and a-f, as "
                "sha256sum prints them"
            )
        return self

    def side(self, prepared: int) -> int:
        """Height and width in px of what the encoder is given; `prepared` is that of prepared images."""
        return prepared if self.image_size == "auto" else self.image_size


class CompareParams(Model):
    """Whether a plain encoder is trained too, how many untrained ones are judged, and an imported one."""

    plain: bool
    untrained: Annotated[int, Field(ge=0, le=20)]
    imported: ImportedParams
