"""Names and sentences for people, shared by the model card, the report and the summary."""

from __future__ import annotations

from collections.abc import Iterable

EMBEDDED_TARGETS = ("hue", "position", "scale", "tilt", "scenery", "digits", "photos")
EMBEDDED_LIMITS = (
    "The embedded data are made of small digits and two photographs: "
    "results on them are no finding about natural images."
)
TITLES = {
    "simclr": "SimCLR",
    "byol": "BYOL",
    "barlow_twins": "Barlow Twins",
    "supervised": "Supervised",
    "vicreg": "VICReg",
    "simsiam": "SimSiam",
    "mocov3": "MoCo v3",
    "dcl": "DCL",
    "noise": "noise only",
    "rc": "RC",
    "lbe": "LBE",
    "ip": "IP",
    "mib": "MIB",
    "mixed": "mixed samples",
    "mveb": "MVEB entropy",
}
WITHOUT_TERM = ("none", "noise")  # their weight says nothing


def method(objective: str, regularizer: str, weight: float) -> str:
    """How the encoder was trained, such as "SimCLR + LBE (λ = 1)"."""
    name = TITLES.get(objective, objective)
    if regularizer == "none":
        return f"{name} without regulariser"
    added = f"{name} + {TITLES.get(regularizer, regularizer)}"
    return added if regularizer in WITHOUT_TERM else f"{added} (λ = {weight:g})"


def percent(share: float) -> str:
    """A share in 0..1 with one decimal, such as "81.4 %"."""
    return f"{100 * share:.1f} %"


def interval(bounds: tuple[float, float]) -> str:
    """A 95 % interval of shares, such as "79.3 to 83.3 %"."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def counted(count: int, noun: str) -> str:
    """A number of things, such as "7 targets" or "1 target"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def file_size(size: int) -> str:
    """A number of bytes in the unit that suits it, such as "2.8 MB" (1 MB = 10^6 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def limits(data: str, targets: Iterable[str]) -> list[str]:
    """What the figures do not show, one sentence each."""
    said = []
    if data == "scenes" or any(target in EMBEDDED_TARGETS for target in targets):
        said.append(EMBEDDED_LIMITS)
    return [
        *said,
        "The figures come from one run with one seed; the intervals tell only of the draw of test images.",
        "The encoder was tried on the tasks named here and on no others; measure it on yours before use.",
    ]
