"""`python -m benchmarks.preparation`: folders of up to 1,000,000 images, ours against torchvision's reader.

The alternative is what one would write by hand: `ImageFolder` with the same resizing, a `DataLoader` of
as many workers as there are cores, one array in memory, saved and hashed. It looks for no duplicates.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Lambda, Resize

from benchmarks.measure import peak_memory_mib
from benchmarks.run import RESULTS, processor
from infocl.config.file import parse_params, read_yaml
from infocl.data.prepare import prepare_source
from infocl.runtime.files import sha256_array, write_text

SIDE, SIZE, CLASSES = 24, 16, 10  # px of the files, px of the arrays
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
    raw = read_yaml(Path(__file__).parent.parent / "params.yaml")
    raw["data"] |= {"name": "folder", "root": str(root), "image_size": SIZE}
    raw["encoder"]["stem"] = "cifar"
    prepare_source(parse_params(raw))


def by_torchvision(root: Path) -> None:
    """Decoded by the workers of a `DataLoader` into one array, which is saved and hashed."""
    transform = Compose([Resize(SIZE), CenterCrop(SIZE), Lambda(_as_array)])
    loader = DataLoader(ImageFolder(str(root), transform), batch_size=256, num_workers=os.cpu_count() or 1)
    images = np.concatenate([batch.numpy() for batch, _ in loader])
    np.save("images.npy", images)
    sha256_array(images)


def _as_array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.array(image)


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


def _alone(work: Callable[[Path], None], root: Path) -> tuple[float, float]:
    """The same in a fresh process, which may have children."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, root).result()


def main() -> None:
    """Measure each count in turn and write `results/preparation.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    lines = [
        f"# Preparation on {processor()}",
        "",
        f"{datetime.datetime.now(datetime.UTC).date()}, Python {platform.python_version()}, Pillow "
        f"{PIL.__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}; PNG files of "
        f"{SIDE} px to arrays of {SIZE} px; memory is what the work adds to the peak of its process "
        "(the alternative's workers are not counted)",
        "",
        "| images | ours | memory | torchvision | memory | images/s, ours over torchvision |",
        "|---|---|---|---|---|---|",
    ]
    for count in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "images"
            make_images(root, count)
            speed, memory = _alone(ours, root)
            other, ratio = "not measured | ", ""
            if count <= MOST_OF_ALTERNATIVE:
                their_speed, their_memory = _alone(by_torchvision, root)
                other = f"{their_speed:,.0f}/s | {their_memory:.0f} MiB"
                ratio = f"{speed / their_speed:.2f}"
            lines.append(f"| {count:,} | {speed:,.0f}/s | {memory:.0f} MiB | {other} | {ratio} |")
            print(lines[-1], flush=True)
            write_text(RESULTS / "preparation.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
