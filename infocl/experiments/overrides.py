"""Overrides such as `reg.weight=0.1`, by the grammar of `dvc exp run -S`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from infocl.config import Params
from infocl.config.file import parse_params
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.mappings import merged


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them.

    Raises:
        UserError: one cannot be read.
    """
    try:
        return OverridesParser.create().parse_overrides(overrides=list(words))
    except OverrideParseException as error:
        raise UserError(f"-S {error.override} cannot be read ({one_line(error)})") from None


def overridden(raw: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The content of params.yaml with overrides of one value each put in.

    Raises:
        UserError: one cannot be read, or gives several values.
    """
    for override in parse_overrides(words):
        if override.is_sweep_override():
            raise UserError(f"-S {override.input_line} gives several values; give one")
        value: Any = override.value()
        for part in reversed(override.get_key_element().split(".")):
            value = {part: value}
        raw = merged(raw, value)
    return dict(raw)


def validated(raw: Mapping[str, Any], words: Sequence[str]) -> Params:
    """The params that `raw` becomes under the overrides.

    Raises:
        UserError: they are not valid; the message names the overrides.
    """
    return parse_params(overridden(raw, words), f"-S {' -S '.join(words)}")
