"""`make gpu` and `make gpu-wheels`: CUDA tests and benchmarks on a machine that has little more than torch.

This file needs the standard library alone, since the packages may come later.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "wheels"
# What images with torch, its relatives and the usual scientific packages lack.
CARRIED = (
    *("annotated-types", "boolean.py", "cyclonedx-python-lib", "defusedxml", "hypothesis", "kornia"),
    *("kornia_rs", "license-expression", "packageurl-python", "py-serializable", "pydantic"),
    *("pydantic_core", "ruamel.yaml", "sortedcontainers", "typing-inspection"),
)
LARGEST = 64 << 20  # bytes of the folder
GLIBC = ("_2_28", "_2_27", "_2_17", "2014")  # of manylinux, the newest that an older system still has


def fetch(python: str) -> None:
    """Fill the folder of wheels, at the versions of requirements.lock, for Linux on x86-64 with this Python.

    Raises:
        SystemExit: the folder would be larger than `LARGEST`.
    """
    lock = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    pins = [f"{name}=={lock[name]}" for name in CARRIED]
    platforms = [f"--platform=manylinux{glibc}_x86_64" for glibc in GLIBC]
    options = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, *platforms]
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    subprocess.run([*command, "--dest", str(WHEELS), *pins], check=True)
    size = sum(file.stat().st_size for file in WHEELS.glob("*.whl"))
    if size > LARGEST:
        raise SystemExit(
            f"infocl: {WHEELS} has {size / 2**20:.0f} MiB, more than the {LARGEST >> 20} that it may"
        )
    print(f"{WHEELS}: {len(CARRIED)} wheels for Python {python}, {size / 2**20:.1f} MiB")


def run(*, dry: bool, minutes: float) -> int:
    """Tests first, then benchmarks; the exit code of the first that failed.

    Args:
        dry: play it on the CPU, tiny; nothing is written but to the screen.
        minutes: after which no further benchmark begins.
    """
    if find_spec("torch") is None:
        return _refused(f"{sys.executable} has no torch; name a Python that has: make gpu PYTHON=...")
    import torch

    if not torch.cuda.is_available() and not dry:
        return _refused(
            "torch finds no GPU here; `make gpu DRY=1` plays the tests and benchmarks on the CPU, tiny"
        )
    with tempfile.TemporaryDirectory() as target:
        if problem := _install(Path(target)):
            return _refused(problem)
        paths = [str(ROOT), target, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        only_gpu = ["--ignore=tests/cuda/test_only_gpu.py"] if dry else []
        steps = [
            ["pytest", "-m", "cuda", "-p", "no:cacheprovider", "--durations=5", *only_gpu, "tests/cuda"],
            ["benchmarks.gpu", f"--minutes={minutes}", *(["--dry-run"] if dry else [])],
        ]
        codes = [
            subprocess.run([sys.executable, "-m", *step], cwd=ROOT, env=environment).returncode
            for step in steps
        ]
    return next(filter(None, codes), 0)


def _install(target: Path) -> str | None:
    """Put carried wheels that this Python lacks, or has of another version, in `target`; what hinders it."""
    wheels = {_plain(wheel.name.split("-")[0]): wheel for wheel in WHEELS.glob("*.whl")}
    missing = [name for name in CARRIED if not _version(name) and _plain(name) not in wheels]
    if missing:
        return (
            f"{', '.join(missing)} are neither in {sys.executable} nor in wheels/; run `make gpu-wheels "
            "GPU_PYTHON=3.12` (with this Python's version) where there is a network and bring the folder"
        )
    wanted = [wheel for name, wheel in wheels.items() if _version(name) != wheel.name.split("-")[1]]
    if wanted:
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", target]
        if subprocess.run([sys.executable, "-m", "pip", "install", *options, *wanted]).returncode:
            return (
                f"the wheels in wheels/ are not for {sys.executable}; run `make gpu-wheels` for its version"
            )
        print(f"From wheels/: {', '.join(sorted(wheel.stem for wheel in wanted))}", flush=True)
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _refused(reason: str) -> int:
    print(f"infocl: {reason}", file=sys.stderr)
    return 2


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["wheels", "run"])
    parser.add_argument("--python", default="3.12", help="version of the Python that will use the wheels")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, tiny, nothing written")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which no further benchmark begins")
    arguments = parser.parse_args()
    if arguments.what == "wheels":
        fetch(arguments.python)
        return 0
    return run(dry=arguments.dry_run, minutes=arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
