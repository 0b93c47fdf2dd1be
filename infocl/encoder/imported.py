"""An encoder that was trained elsewhere: a ResNet's weights under the names of torchvision and timm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from infocl.config import EncoderParams, ImportedParams
from infocl.encoder.network import ARCHITECTURES, FIXED_STATISTICS, Encoder
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_file

CLASSIFIER = "fc."
COUNTER = ".num_batches_tracked"  # no use to a frozen encoder, and old files lack it
PICKLES = (b"PK", b"\x80")  # first bytes of what torch.save writes, and wrote before 1.6
LARGEST = 1 << 30  # bytes; a ResNet-50 in float64 has 0.2 GiB

Shapes = dict[str, tuple[int, ...]]


def their_name(name: str) -> str:
    """The name that a parameter of `Encoder` has in torchvision and timm; blocks have the same inside."""
    part, number, rest = name.split(".", 2)
    return f"{('conv1', 'bn1')[int(number)]}.{rest}" if part == "stem" else f"layer{int(number) + 1}.{rest}"


def read_imported(params: ImportedParams) -> Encoder:
    """The encoder in a safetensors file, in evaluation mode on the CPU; keys and shapes tell which one it is.

    It normalises by ImageNet's usual statistics. A classifier in the file is left out.

    Args:
        params: the file and its SHA-256.

    Raises:
        UserError: the file is missing, another one, no safetensors file, damaged, or holds no ResNet-18, 34
            or 50 of standard width.
    """
    file = Path(params.file)
    where = f"compare.imported.file {file}"
    weights = {name: one for name, one in _load(file, where).items() if not name.startswith(CLASSIFIER)}
    arch = _architecture({name: tuple(one.shape) for name, one in weights.items()}, where)
    if (found := sha256_file(file)) != params.sha256:
        known = f"not {params.sha256}" if params.sha256 else "and compare.imported.sha256 is empty"
        raise UserError(
            f"{where} has the SHA-256 {found}, {known}; if this is the file you mean, set "
            "compare.imported.sha256 to its sum"
        )
    if bad := [name for name, one in weights.items() if not one.isfinite().all()]:
        raise UserError(f"{where} has NaN or infinity in {bad[0]}; use another file")
    with torch.random.fork_rng(devices=[]):
        encoder = _standard(arch)
    stored = encoder.state_dict()
    theirs = {name: their_name(name) for name in _parameters(stored)}
    encoder.load_state_dict(stored | {name: weights[known] for name, known in theirs.items()})
    return encoder.eval()


def describe_imported(encoder: Encoder, params: ImportedParams, image_size: int) -> str:
    """Such as "resnet50 from weights.safetensors, at 224 px"; `image_size` is that of prepared images."""
    return f"{encoder.params.arch} from {Path(params.file).name}, at {params.side(image_size)} px"


def _load(file: Path, where: str) -> dict[str, Tensor]:
    try:
        with file.open("rb") as stream:
            start = stream.read(2)
        if file.stat().st_size > LARGEST:
            raise UserError(f"{where} has more than 1 GiB, as no ResNet has; name another file")
        return load_file(file)
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror}); correct its name") from None
    except SafetensorError as error:
        if start.startswith(PICKLES):
            reason = "is a pickle, which may run any code and is never read here; convert it to safetensors"
            raise UserError(f"{where} {reason} (infocl/pretrain/README.md has the lines)") from None
        raise UserError(f"{where} is no undamaged safetensors file ({error}); get it again") from None


def _standard(arch: str) -> Encoder:
    """A network of the standard width and stem, as torchvision has it."""
    params: dict[str, Any] = {"arch": arch, "stem": "imagenet", "width": 1.0}
    params |= {"init": "torch", "normalization": "imagenet"}
    return Encoder(EncoderParams(**params), *FIXED_STATISTICS["imagenet"])


def _parameters(names: Mapping[str, Any]) -> Iterator[str]:
    """What is read from a file: no counters, nor the statistics that images are normalised by."""
    return (name for name in names if name not in ("mean", "std") and not name.endswith(COUNTER))


def _architecture(found: Shapes, where: str) -> str:
    """The architecture whose parameters have these names and shapes.

    Raises:
        UserError: there is none; the message says what the nearest one has otherwise.
    """
    problems = {}
    for arch in ARCHITECTURES:
        with torch.device("meta"):
            stored = _standard(arch).state_dict()
        wanted = {their_name(name): tuple(stored[name].shape) for name in _parameters(stored)}
        problems[arch] = list(_differences(found, wanted))
        if not problems[arch]:
            return arch
    nearest = min(problems, key=lambda arch: len(problems[arch]))
    raise UserError(
        f"{where} holds none of {', '.join(ARCHITECTURES)} as torchvision and timm have them; the nearest is "
        f"{nearest}, but {problems[nearest][0]} ({len(problems[nearest])} differences)"
    )


def _differences(found: Shapes, wanted: Shapes) -> Iterator[str]:
    for name, shape in wanted.items():
        if name not in found:
            yield f"{name} is missing"
        elif found[name] != shape:
            yield f"{name} is {found[name]}, not {shape}"
    yield from (f"{name} is too much" for name in found if name not in wanted and not name.endswith(COUNTER))
