"""Which tasks the encoder is tried on: targets by name, and tasks of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from infocl.config.names import DataName, ScenesTarget, TargetName
from infocl.runtime.schema import Model
from infocl.runtime.text import near

TaskKind = Literal["class", "labels", "number"]
NAMES = get_args(TargetName)
# What targets: auto stands for where no task of one's own is described.
EMBEDDED = ("hue", "brightness", "place", "digits")
OF_SOURCE = {
    "scenes": (*get_args(ScenesTarget), "digits", "photos"),
    "emoji": ("emoji_tone", "emoji_category", "digits"),
}
TAKEN = {*NAMES, *get_args(DataName), "source", "mean"}
OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class OwnTaskParams(Model):
    """Images of one's own below `transfer.root`, with what is to be read from them.

    Attributes:
        folder: that holds the images, from `transfer.root`.
        csv: a table below `folder`; empty to go by class folders.
        columns: of the table, with what they hold; none: its column `label` holds classes.
    """

    folder: Annotated[str, Field(min_length=1)] = "."
    csv: str = ""
    columns: dict[Annotated[str, Field(min_length=1)], TaskKind] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_of_a_table(self) -> OwnTaskParams:
        for key in ("folder", "csv"):
            path = PurePosixPath(getattr(self, key))
            if path.is_absolute() or ".." in path.parts:
                above = "transfer.root" if key == "folder" else "its folder"
                raise ValueError(
                    f"{key} {path} of a task in transfer.own must lie below {above}; name it from there"
                )
        if self.columns and not self.csv:
            raise ValueError("a task in transfer.own names columns but no csv; name the table that has them")
        taken = sorted({"path", "split"} & set(self.columns))
        if taken:
            raise ValueError(
                f"a task in transfer.own reads the column {taken[0]}, which holds no answers; remove it"
            )
        return self

    def tasks(self, name: str) -> dict[str, str]:
        """The column of each task: one called `name` where no columns are named, else name_column."""
        return {f"{name}_{re.sub(r'[^A-Za-z0-9-]+', '_', column)}": column for column in self.columns} or {
            name: "label"
        }


class TransferParams(Model):
    """Which targets the encoder is tried on."""

    root: Annotated[str, Field(min_length=1)]
    targets: Annotated[list[str], Field(min_length=1)]
    own: dict[str, OwnTaskParams]

    @model_validator(mode="after")
    def _known(self) -> TransferParams:
        for name in self.own:
            if not OWN_NAME.fullmatch(name) or name in TAKEN:
                raise ValueError(
                    f"transfer.own names a task {name!r}; choose another name, of letters, digits, _ and -, "
                    "that no data set has"
                )
        for place, name in enumerate(self.targets):
            if name not in self.own and name not in NAMES:
                known = [*NAMES, *self.own]
                hint = near(name, known, f"use one of {', '.join(known)}, or describe it in transfer.own")
                raise ValueError(f"transfer.targets.{place} is {name!r}; {hint}")
        twice = sorted({name for name in self.tasks if self.tasks.count(name) > 1})
        if twice:
            raise ValueError(f"transfer.targets names {twice[0]} twice; name each target once")
        return self

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks, in order: a target of one's own has one for each column."""
        return list(tasks_of(self.targets, self.own))

    @property
    def foreign(self) -> bool:
        """Whether no target is a task of one's own."""
        return not any(name in self.own for name in self.targets)


def tasks_of(targets: list[str], own: Mapping[str, OwnTaskParams]) -> Iterator[str]:
    """The tasks of targets that are named, or described in `own`."""
    for name in targets:
        yield from own[name].tasks(name) if name in own else [name]


def named_tasks(raw: Mapping[str, Any]) -> list[str]:
    """The tasks that the content of a valid params.yaml asks for."""
    transfer = raw["transfer"]
    own = transfer.get("own") or {}
    targets = transfer["targets"] if transfer["targets"] != "auto" else chosen_targets(raw.get("data"), own)
    return list(tasks_of(targets, {name: OwnTaskParams.model_validate(task) for name, task in own.items()}))


def chosen_targets(data: Any, own: Any) -> list[str]:
    """What `targets: auto` stands for: tasks of one's own where there are any, else embedded ones.

    Args:
        data: the block `data`, not validated.
        own: the block `transfer.own`, likewise.
    """
    if isinstance(own, Mapping) and own:
        return [str(name) for name in own]
    source = data.get("name") if isinstance(data, Mapping) else None
    return list(OF_SOURCE.get(str(source), EMBEDDED))
