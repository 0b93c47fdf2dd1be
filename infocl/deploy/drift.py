"""`infocl drift`: whether new images look like those that an exported encoder was measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.data.decoding import Images, decode_image
from infocl.deploy.embed import BATCH, decoded
from infocl.deploy.example import unpack
from infocl.deploy.plain import COPY_AGAIN, read_plain
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.trust import open_trusted
from infocl.deploy.twosample import PERMUTATIONS, mmd_test
from infocl.export.look import LOOKS, looks
from infocl.export.reference import project, standardise
from infocl.prepared.rows import evenly_spread
from infocl.results.card import HINT, Reference
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.text import counted

LARGEST_REFERENCE = 256 << 20  # bytes
LEAST, MOST = 20, 1000  # images that are compared
TESTS = 2  # features, and looks
LEAST_ALARMS = TESTS / (1 + PERMUTATIONS)


@dataclass(frozen=True)
class Drift:
    """What was found. `p` is that of both tests together, twice the smaller of the two (Bonferroni).

    `looks` holds for each of `LOOKS` the mean of the new images and that of the known ones.
    """

    drift: bool
    p: float
    false_alarms: float
    images: int
    compared: int
    skipped: int
    known: int
    known_split: str
    features_mmd2: float
    features_p: float
    looks_mmd2: float
    looks_p: float
    looks: dict[str, tuple[float, float]]
    most_moved: str
    encoder_sha256: str

    @property
    def line(self) -> str:
        """The verdict in one line."""
        compared = f"{self.compared:,} of {counted(self.images, 'image')}"
        against = f"the {self.known:,} {'test' if self.known_split == 'test' else 'training'} images"
        limit = self.false_alarms
        if not self.drift:
            return f"No drift: {compared} cannot be told from {against} of the encoder (p = {self.p:.3g})."
        found = [f"their features (p = {self.features_p:.3g})"] if self.features_p <= limit / TESTS else []
        if self.looks_p <= limit / TESTS:
            new, known = self.looks[self.most_moved]
            moved = f"{self.most_moved} {new:.3f} after {known:.3f}"
            found.append(f"their looks (p = {self.looks_p:.3g}; {moved})")
        return f"Drift: {compared} differ from {against} of the encoder by {' and '.join(found)}."


def find_drift(
    files: Sequence[Path], folder: Path, *, false_alarms: float = 0.01, signers: Path | None = None
) -> Drift:
    """Compare image files with the sample that an export carries.

    Args:
        files: of any format that Pillow reads; 1,000 evenly spread ones are compared when there are more.
        folder: the exported one.
        false_alarms: in 0.002..0.5, the share of checks of independent images of the known kind that report
            drift, at most.
        signers: of the encoder, as in `open_trusted`.

    Raises:
        UserError: the export cannot be used or carries no sample, or fewer than 20 files can be read.
    """
    if not LEAST_ALARMS <= false_alarms <= 0.5:
        raise UserError(
            f"a rate of false alarms of {false_alarms:g} cannot be kept; choose one between 0.002 and 0.5"
        )
    encoder = OnnxEncoder(open_trusted(folder, "float32", signers), "float32")
    about, sample = read_sample(encoder)
    chosen = [files[row] for row in evenly_spread(len(files), MOST)]
    pixels = _pixels(chosen, about)
    features = np.concatenate(
        [encoder.embed(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    )
    if not np.isfinite(features).all():
        raise UserError(f"{encoder.path} gives embeddings that are not finite; {HINT}")
    new = {
        "features": project(features, sample["mean"], sample["directions"]),
        "looks": standardise(looks(pixels), sample["look_mean"], sample["look_scale"]),
    }
    tests = {name: mmd_test(sample[name], new[name], new[name].shape[1] ** 0.5) for name in new}
    p = min(1.0, TESTS * min(p for _, p in tests.values()))
    means, most_moved = _mean_looks(new["looks"], sample)
    return Drift(
        drift=p <= false_alarms,
        p=p,
        false_alarms=false_alarms,
        images=len(files),
        compared=len(pixels),
        skipped=len(chosen) - len(pixels),
        known=about.images,
        known_split=about.split,
        features_mmd2=tests["features"][0],
        features_p=tests["features"][1],
        looks_mmd2=tests["looks"][0],
        looks_p=tests["looks"][1],
        looks=means,
        most_moved=most_moved,
        encoder_sha256=encoder.file.sha256,
    )


def _pixels(files: Sequence[Path], about: Reference) -> Images:
    """The images that can be read, as the preparation of training images makes them: (M, S, S, 3)."""

    def read(path: Path) -> Images:
        return decode_image(path, about.image_size, about.crop).pixels

    images = [image for _, image in decoded(files, read) if not isinstance(image, UserError)]
    if len(images) < LEAST:
        raise UserError(
            f"{counted(len(images), 'image')} of {counted(len(files), 'file')} can be read, but a comparison "
            f"needs {LEAST}; name more images"
        )
    return np.stack(images)


def _mean_looks(
    new: npt.NDArray[Any], sample: dict[str, npt.NDArray[Any]]
) -> tuple[dict[str, tuple[float, float]], str]:
    """Means of the new and the known images, and the name of the look that moved most for its spread."""
    means = [scaled.astype(np.float64).mean(0) for scaled in (new, sample["looks"])]
    moved = LOOKS[int(np.abs(means[0] - means[1]).argmax())]
    real = [mean * sample["look_scale"] + sample["look_mean"] for mean in means]
    return {name: (float(one), float(other)) for name, one, other in zip(LOOKS, *real, strict=True)}, moved


def read_sample(encoder: OnnxEncoder) -> tuple[Reference, dict[str, npt.NDArray[Any]]]:
    """What `encoder.json` says of the sample, and its arrays as `write_reference` made them.

    Raises:
        UserError: there is none, or the file is missing, damaged, or has other arrays.
    """
    export = encoder.export
    about = export.card.drift
    if about is None:
        raise UserError(
            f"{export.path} names no sample to compare with (drift); export again, with export.drift_images "
            "above 0"
        )
    path = export.folder / about.file
    data = read_plain(path, LARGEST_REFERENCE, HINT)
    try:
        sample = unpack(data)
        count = len(sample["directions"])
        shapes = {
            "mean": (export.card.dim,),
            "directions": (count, export.card.dim),
            "features": (about.images, count),
            "look_mean": (len(LOOKS),),
            "look_scale": (len(LOOKS),),
            "looks": (about.images, len(LOOKS)),
        }
        for name, shape in shapes.items():
            kind = np.float16 if name in ("features", "looks") else np.float32
            array = sample[name]
            if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not finite {kind.__name__} {shape}")
    except KeyError as error:
        raise UserError(f"{path} holds no array {error}; {HINT}") from None
    except Exception as error:  # damaged archives fail in every way there is
        raise UserError(f"{path} cannot be read ({one_line(error)}); {COPY_AGAIN}") from None
    return about, sample
