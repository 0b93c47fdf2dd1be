"""Reading params.yaml: every mistake becomes one line that names the key and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node

from infocl.config import Params
from infocl.runtime.errors import UserError
from infocl.runtime.text import near

PARAMS_FILE = Path("params.yaml")


class _WithoutAliases(Composer):
    """Refuses aliases: a few lines of them, merged into each other, take hours to read."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.parser.check_event(AliasEvent):
            event = self.parser.peek_event()
            raise ComposerError(
                problem=f"*{event.anchor} is an alias; write the value", problem_mark=event.start_mark
            )
        node: Node | None = super().compose_node(parent, index)
        return node


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate params.yaml.

    Raises:
        UserError: the file is missing, not YAML, or a value is unknown, mistyped or out of range;
            the message is one line that names the key and the fix.
    """
    return parse_params(read_yaml(path), path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping without aliases, by the grammar that DVC reads it with."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _WithoutAliases
    try:
        value = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{path}{where}: not valid YAML ({problem}); correct that line") from None
    except (YAMLError, ValueError, OSError, RecursionError, LookupError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a mapping of sections such as `seed: 0`")
    return value


def parse_params(raw: Mapping[str, Any], source: str = PARAMS_FILE.name) -> Params:
    """Validate a mapping as params.yaml would be; `source` names the file in messages."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        first = min(problems, key=lambda problem: problem["type"] == "missing")  # a typo makes both
        more = f" ({len(problems) - 1} more to fix after that)" if len(problems) > 1 else ""
        raise UserError(f"{source}: {_explain(first, raw)}{more}") from None


WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text without halves of surrogate pairs such as \\ud800",
    "string_too_short": "text that is not empty",
    "list_type": "a list such as [a, b]",
    "dict_type": "names with their values, such as {{hue: 0.8}}",
    "model_type": "a section with its keys indented below it",
    "model_attributes_type": "a section with its keys indented below it",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
    "string_pattern_mismatch": "auto, cpu, cuda or cuda:N with N below 100",
}


def _explain(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    key, given, kind = _key(problem, raw), problem.get("input"), problem["type"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{key} is not a known parameter; " + near(key, _known_keys(Params), "remove it")
    if kind == "missing":
        return f"{key} is missing; add it"
    if kind == "invalid_key":
        *section, name = problem["loc"]
        place = ".".join(map(str, section)) or "the file"
        return f"{place} has a key that is not text, {name}; remove it"
    if kind == "literal_error":
        names = [name.strip(" '") for name in context["expected"].replace(" or ", ", ").split(",")]
        return f"{key} is {_show(given)}; " + near(given, names, f"use one of {', '.join(names)}")
    if kind == "value_error":
        about_one_value = key and not isinstance(given, (Mapping, BaseModel))
        return f"{key} {context['error']}" if about_one_value else str(context["error"])
    wanted = WANTED[kind].format(**context) if kind in WANTED else problem["msg"]
    return f"{key or 'the file'} is {_show(given)}, but must be {wanted}"


def _key(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    """The dotted key as the user wrote it: the location without pydantic's names of union members."""
    parts: list[str] = []
    node: Any = raw
    for part in problem["loc"]:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            if problem["type"] != "missing":
                continue
        parts.append(str(part) if str(part).isprintable() else repr(part))
    return ".".join(parts)


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind, f"{prefix}{name}.")
    return keys


def _show(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
