"""What the figures of a run do not show."""

from __future__ import annotations

from collections.abc import Iterable

EMBEDDED_TARGETS = ("hue", "position", "scale", "tilt", "scenery", "digits", "photos")
EMBEDDED_LIMITS = (
    "The embedded data are made of small digits and two photographs: "
    "results on them are no finding about natural images."
)


def limits(data: str, targets: Iterable[str]) -> list[str]:
    """What the figures do not show, one sentence each."""
    lines = []
    if data == "scenes" or any(target in EMBEDDED_TARGETS for target in targets):
        lines.append(EMBEDDED_LIMITS)
    return [
        *lines,
        "The figures come from one run with one seed; the intervals tell only of the draw of test images.",
        "The encoder was tried on the tasks named here and on no others; measure it on yours before use.",
    ]
