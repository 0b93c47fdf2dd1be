"""What this machine offers to a run of the pipeline."""

from __future__ import annotations

import platform
import shutil
import timeit
from importlib.metadata import version
from pathlib import Path

import torch

from infocl.cli.images import print_images_diagnosis
from infocl.config import Params
from infocl.config.file import load_params
from infocl.encoder.imported import describe_imported, read_imported
from infocl.prepared.reader import META_FILE, load_prepared
from infocl.pretrain.loading.storage import RULE, choose_storage
from infocl.runtime.device import choose_device, describe_device
from infocl.runtime.paths import PREPARED, raw_folder

PACKAGES = ("torch", "torchvision", "kornia", "dvc", "onnx", "onnxruntime", "scikit-learn", "numpy")


def print_diagnosis(images: Path | None, out: Path) -> None:
    """Print versions, device, disk, where raw data are looked for, and whether params.yaml is valid.

    Args:
        images: a folder of images to look at as well; without one, `data.root` where data.name is folder.
        out: folder for what is found there.
    """
    print(f"Python       {platform.python_version()} on {platform.platform()}")
    print(f"Packages     {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")
    params = load_params()
    device = choose_device(params.train.device)
    print(f"Device       {describe_device(device)} (train.device {params.train.device})")
    print(f"Precision    {params.train.precision}; {_bf16_note(device)}")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    print(f"Disk         {free:.1f} GiB free in {Path.cwd()}")
    for what, root in (("data.root", params.data.root), ("transfer.root", params.transfer.root)):
        raw = raw_folder(root)
        there = "present" if raw.exists() else "not there; embedded data need none"
        print(f"Raw data     {raw} ({what}; {there})")
    if (imported := params.compare.imported).file:
        told = describe_imported(read_imported(imported), imported, params.data.image_size)
        print(f"Imported     {told}")
    print("params.yaml  valid")
    if images is None and params.data.name == "folder":
        images = Path(params.data.root)
    if images is None:
        if (PREPARED / META_FILE).exists():
            prepared = load_prepared(PREPARED)
            if prepared.name == params.data.name:
                _print_storage(params, prepared.pretrain_bytes, device)
        return
    count = print_images_diagnosis(params.data, images, out)
    if 0 < count < params.train.batch_size:
        print(f"{'Batch':<12} {count:,} training images are fewer than train.batch_size; make it smaller")
    if count:
        _print_storage(params, 3 * params.data.image_size**2 * count, device)


def _print_storage(params: Params, size: int, device: torch.device) -> None:
    """Log where so many bytes of images would lie while training, and why."""
    copies = params.train.devices if device.type == "cpu" else 1
    choice = choose_storage(params.train, size, str(PREPARED), there=True, device=device, copies=copies)
    print(f"{'In training':<12} {choice}; train.storage {params.train.storage}, {RULE}")


def _bf16_note(device: torch.device) -> str:
    matrix = torch.randn(1024, 1024, device=device)
    ratio = _product_seconds(matrix) / _product_seconds(matrix.bfloat16())
    advice = "" if ratio > 1 else "; set train.precision to fp32"
    return f"a matrix product in bf16 takes 1/{ratio:.1f} of its time in float32 here{advice}"


def _product_seconds(matrix: torch.Tensor) -> float:
    """The fastest of ten squares of a matrix; reading a number of it waits for the device."""
    return min(timeit.repeat(lambda: float((matrix @ matrix)[0, 0]), number=1, repeat=10))
