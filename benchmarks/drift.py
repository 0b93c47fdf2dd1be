"""How often `infocl drift` reports drift: for images of the known kind, and for images that differ.

`python -m benchmarks.drift` in a project whose `exports/encoder` was trained on the data set shapes, of which
any number of new images can be drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.publish import about, publish, table
from infocl.config.file import load_params
from infocl.data.embedded.shapes import draw_split
from infocl.deploy.drift import TESTS, read_sample
from infocl.deploy.embed import BATCH
from infocl.deploy.exported import Export
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.twosample import mmd_test
from infocl.export.look import looks
from infocl.export.reference import project, standardise
from infocl.runtime.paths import EXPORT

SIZES, LEVELS = (50, 200), (0.01, 0.05)
CHECKS, CHECKS_OF_A_CHANGE = 300, 20
POOL = 20_000
Images = npt.NDArray[np.uint8]
Measured = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # features and looks
CHANGES: dict[str, Callable[[Images], Images]] = {
    "5 % darker": lambda images: (0.95 * images).round().astype(np.uint8),
    "10 % darker": lambda images: (0.9 * images).round().astype(np.uint8),
    "red 3 % weaker": lambda images: (images * [0.97, 1, 1]).round().astype(np.uint8),
    "blurred by 1 px to the right": lambda images: (
        (images + np.roll(images, 1, axis=2).astype(np.uint16)) // 2
    ).astype(np.uint8),
    "noise of 3 grey levels": lambda images: (
        (images + np.random.default_rng(0).normal(0, 3, images.shape)).clip(0, 255).round().astype(np.uint8)
    ),
    "mirrored, which the drawings do not show": lambda images: images[:, :, ::-1],
}


class Known:
    """The exported encoder and its sample; both as `infocl drift` uses them."""

    def __init__(self) -> None:
        self.encoder = OnnxEncoder(Export(EXPORT), "float32")
        _, self.sample = read_sample(self.encoder)

    def measured(self, images: Images) -> Measured:
        parts = [self.encoder.embed(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        features = project(np.concatenate(parts), self.sample["mean"], self.sample["directions"])
        return features, standardise(looks(images), self.sample["look_mean"], self.sample["look_scale"])

    def p(self, new: Measured, known: Measured | None = None) -> float:
        known = known or (self.sample["features"], self.sample["looks"])
        tests = [mmd_test(old, one, one.shape[1] ** 0.5)[1] for old, one in zip(known, new, strict=True)]
        return min(1.0, TESTS * min(tests))


def rows(of: Measured, chosen: npt.NDArray[np.int64]) -> Measured:
    return of[0][chosen], of[1][chosen]


def main() -> None:
    shapes = load_params().data.shapes.model_copy(update={"seed": 12345, "test_images": POOL})
    images, labels = draw_split(shapes, 32, "test")
    known, generator = Known(), np.random.default_rng(0)
    pool, size = known.measured(images), len(known.sample["looks"])
    rates = []
    for count in SIZES:
        for name in ("shipped", "redrawn"):
            p = []
            for _ in range(CHECKS):
                order = generator.permutation(POOL)
                other = rows(pool, order[count : count + size]) if name == "redrawn" else None
                p.append(known.p(rows(pool, order[:count]), other))
            rates.append([count, name, *(f"{100 * (np.array(p) <= level).mean():.1f}" for level in LEVELS)])
            print(*rates[-1], flush=True)
    few = {name: known.measured(change(images[:4000])) for name, change in CHANGES.items()}
    few["without discs, an eighth of all images"] = rows(pool, np.flatnonzero(labels["shape"] != 0))
    found = []
    for name, changed in few.items():
        found.append([name])
        for count in SIZES:
            orders = [generator.permutation(len(changed[0]))[:count] for _ in range(CHECKS_OF_A_CHANGE)]
            p = [known.p(rows(changed, order)) for order in orders]
            found[-1].append(f"{100 * (np.array(p) <= LEVELS[0]).mean():.0f}")
        print(*found[-1], flush=True)
    lines = [
        f"Encoder of the default run on `shapes`, a sample of {size:,} test images; others are drawn anew.",
        "",
        f"Of {CHECKS} checks of images of the known kind, the share that reported drift, in %; *shipped*:",
        "against the sample of the export, *redrawn*: against another sample each time.",
        "",
        *table(("new images", "sample", *(f"at {level:g}" for level in LEVELS)), rates),
        "",
        f"Of {CHECKS_OF_A_CHANGE} checks of images that differ, the share that reported drift at 0.01, in %:",
        "",
        *table(("what differs", *(f"{count} images" for count in SIZES)), found),
    ]
    publish("drift", "How often `infocl drift` reports drift, on", lines, about())


if __name__ == "__main__":
    main()
