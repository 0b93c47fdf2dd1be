"""What this machine offers to a run of the pipeline."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from infocl.device import choose_device, describe_device
from infocl.layout import raw_folder
from infocl.params_file import load_params

PACKAGES = ("torch", "torchvision", "kornia", "dvc", "onnx", "onnxruntime", "scikit-learn", "numpy")


def print_diagnosis() -> None:
    """Print versions, device, disk, where raw data are looked for, and whether params.yaml is valid."""
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
        print(f"Raw data     {raw} ({what}; {'present' if raw.exists() else 'not there; scenes needs none'})")
    print("params.yaml  valid")


def _bf16_note(device: torch.device) -> str:
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "this device computes bf16 natively" if fast else "bf16 is emulated here: fp32 may be faster"
