"""`python -m benchmarks.preparation`: folders of up to 1,000,000 images, ours against torchvision's reader.

The alternative is what one would write by hand: `ImageFolder` with the same resizing, a `DataLoader` of
as many workers as there are cores, one array in memory, saved and hashed. It looks for no duplicates.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize

from benchmarks.measure import in_fresh_process, peak_memory_mib
from benchmarks.publish import about, publish, table
from infocl.config.file import read_yaml
from infocl.data.prepare import prepare_source
from infocl.experiments.overrides import validated
from infocl.runtime.files import sha256_array

SIDE, SIZE, CLASSES = 24, 16, 10  # px of the files, px of the arrays
PARAMS = Path(__file__).parent.parent / "params.yaml"
TITLES = "images", "ours", "memory", "torchvision", "memory", "images/s, ours over torchvision"
MOST_OF_ALTERNATIVE = 10_000  # images, because it holds all in memory and takes its time


def make_images(root: Path, count: int) -> None:
    """Files that differ from each other, in ten class folders."""
    generator = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / str(label)).mkdir(parents=True)
    for number in range(count):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        path = root / str(number % CLASSES) / f"{number:07}.png"
        Image.fromarray(pixels).save(path, compress_level=0)


def ours(root: Path) -> None:
    """The stage's own function, from files to `data/prepared/`."""
    chosen = "data.name=folder", f"data.root={root}", f"data.image_size={SIZE}", "encoder.stem=cifar"
    prepare_source(validated(read_yaml(PARAMS), chosen))


def by_torchvision(root: Path) -> None:
    """Decoded by the workers of a `DataLoader` into one array, which is saved and hashed."""
    transform = Compose([Resize(SIZE), CenterCrop(SIZE), np.array])
    loader = DataLoader(ImageFolder(str(root), transform), batch_size=256, num_workers=os.cpu_count() or 1)
    images = np.concatenate([batch.numpy() for batch, _ in loader])
    np.save("images.npy", images)
    sha256_array(images)


def _measured(work: Callable[[Path], None], root: Path) -> tuple[float, float]:
    """Images per second, and MiB that the work adds to the peak of its own process."""
    count = sum(len(files) for _, _, files in os.walk(root))
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        os.chdir(folder)
        start = time.perf_counter()
        memory = peak_memory_mib(lambda: work(root))
        seconds = time.perf_counter() - start
        os.chdir(root)
    return count / seconds, memory


def main() -> None:
    """Measure each count in turn and write `results/preparation.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    rows = []
    for count in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "images"
            make_images(root, count)
            speed, memory = in_fresh_process(_measured, ours, root)
            cells = [f"{count:,}", f"{speed:,.0f}/s", f"{memory:.0f} MiB", "not measured", "", ""]
            if count <= MOST_OF_ALTERNATIVE:
                other, theirs = in_fresh_process(_measured, by_torchvision, root)
                cells[3:] = f"{other:,.0f}/s", f"{theirs:.0f} MiB", f"{speed / other:.2f}"
        rows.append(cells)
        lines = [
            f"PNG files of {SIDE} px to arrays of {SIZE} px; memory is what the work adds to the peak of its",
            "process (the alternative's workers are not counted).",
            "",
            *table(TITLES, rows),
        ]
        publish("preparation", "Preparation on", lines, about("Pillow", "torch", "torchvision"))


if __name__ == "__main__":
    main()
