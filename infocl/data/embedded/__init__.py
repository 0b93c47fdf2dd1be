"""Data sets that need no files: drawn, or made from what scikit-learn ships."""

from __future__ import annotations

from typing import Any

_SHAPES, _SCENES = "infocl.data.embedded.shapes:load_shapes", "infocl.data.embedded.scenes:load_scenes"
SOURCES = ("shapes", "scenes")  # the others are targets alone
# By name, the reader and its arguments.
READERS: dict[str, tuple[str, dict[str, str]]] = {
    "shapes": (_SHAPES, {}),
    **{name: (_SHAPES, {"target": name}) for name in ("shape", "hue", "brightness", "place")},
    "scenes": (_SCENES, {}),
    **{
        f"scenes_{name}": (_SCENES, {"target": name})
        for name in ("hue", "position", "scale", "tilt", "scenery")
    },
    "digits": ("infocl.data.embedded.digits:load_plain_digits", {}),
    "photos": ("infocl.data.embedded.digits:load_photo_pieces", {}),
}
LIMITS = (
    "The embedded data are drawn shapes, small digits and two photographs: "
    "results on them are no finding about natural images."
)


def describe_task(asks: str, *, changed_by_views: bool = False) -> dict[str, Any]:
    """The entry of `meta.json` that says what the labels ask, for the report and the model card.

    Args:
        asks: in a few words.
        changed_by_views: whether augmentation changes the answer from view to view.
    """
    return {"task": {"asks": asks, "changed_by_views": changed_by_views, "limits": LIMITS}}
