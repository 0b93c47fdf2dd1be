"""An exported folder, as its users open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_core import from_json

from infocl.deploy.plain import LARGEST_TEXT, read_plain
from infocl.results.card import CARD_FILE, HINT, Shipped, parse_card
from infocl.runtime.errors import UserError


class Export:
    """An exported folder, described by its `encoder.json`; `raw` is all of that.

    Raises:
        UserError: the folder, the file or a key is missing, of a wrong type, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; name the exported one, such as exports/encoder")
        self.folder = folder
        self.path = folder / CARD_FILE
        self.raw: dict[str, Any] = self._read()
        self.card = parse_card(self.raw, self.path)

    def _read(self) -> dict[str, Any]:
        data = read_plain(self.path, LARGEST_TEXT, f"is {self.folder} an exported encoder? If so, {HINT}")
        try:
            # Unlike the standard library's, this parser refuses deep nesting.
            raw = from_json(data, allow_inf_nan=False)
        except ValueError as error:
            raise UserError(f"{self.path} cannot be read ({error}); {HINT}") from None
        if not isinstance(raw, dict):
            raise UserError(f"{self.path} does not hold a JSON object; {HINT}")
        return raw

    @property
    def shipped(self) -> dict[str, Shipped]:
        """The variants that are in the folder, by name."""
        return {name: row for name, row in self.card.variants.items() if isinstance(row, Shipped)}

    def variant(self, name: str) -> Shipped:
        """A shipped variant.

        Raises:
            UserError: there is none of that name.
        """
        row = self.card.variants.get(name)
        if isinstance(row, Shipped):
            return row
        why = f" ({row.reason})" if row else ""
        raise UserError(f"{self.folder} ships no variant {name}{why}; choose of {', '.join(self.shipped)}")
