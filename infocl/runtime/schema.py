"""What every section of params.yaml is built on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Auto = Literal["auto"]


class Model(BaseModel):
    """Strict, frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        """No path may hold NUL, and the system refuses one only once it is used."""
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("holds the character NUL; remove it")
        return value


class PlugIn(Model):
    """The knobs of one choice of a section, which lie beside the code that reads them.

    Attributes:
        title: the choice as people write it.
    """

    title: ClassVar[str]

    def require_fit(self, image_size: int) -> None:
        """Check what the choice needs of the images, whose side is `image_size` px.

        Raises:
            ValueError: they do not fit; the message is one line for people.
        """


class PlugInSection(Model):
    """A section of params.yaml whose `name` chooses among plug-ins, each with a block of its own."""

    name: str

    @property
    def own(self) -> Any:
        """The block of the choice."""
        return getattr(self, self.name)


def section_of(base: type[PlugInSection], plug_ins: Mapping[str, type[PlugIn]]) -> type[PlugInSection]:
    """The section in which `name` is one of the plug-ins' names, with a block for each."""
    blocks: dict[str, Any] = {name: (block, ...) for name, block in plug_ins.items()}
    names: Any = Literal[tuple(plug_ins)]
    return create_model(base.__name__, __base__=base, name=(names, ...), **blocks)


def class_beside(package: str, name: str, base: type) -> Any:
    """The one subclass of `base` that the module `name` of a package defines."""
    module = import_module(f"{package}.{name}")
    [found] = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module.__name__
    ]
    return found
