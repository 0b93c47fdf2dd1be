"""What reads the images of an audit: raw pixels, untrained encoders, the plain and the regularised one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.config import Params
from infocl.encoder.files import load_encoder
from infocl.encoder.views import to_unit_range
from infocl.evaluate.baselines import SIDE, untrained_encoder
from infocl.evaluate.evaluation import check_source_data
from infocl.evaluate.features import encode, require_finite
from infocl.prepared.reader import Prepared
from infocl.runtime.paths import NOT_TRAINED, PLAIN, PRETRAIN

BATCH = 256
TRAINED = ("plain", "regularised")

Images = npt.NDArray[np.uint8]
Reader = Callable[[Tensor], Tensor]  # images (B, 3, H, W) in [0, 1] to features (B, D)
Readers = list[tuple[str, Reader]]  # with their kinds; untrained encoders have one for each seed


def open_readers(params: Params, source: Prepared, device: torch.device) -> Readers:
    """All that there is to read with.

    Raises:
        UserError: an encoder is missing, or is of other images.
    """
    readers: Readers = [("raw", lambda images: F.adaptive_avg_pool2d(images, SIDE).flatten(1))]
    for number in range(params.compare.untrained):
        readers.append(("untrained", partial(encode, untrained_encoder(params, source, number, device))))
    folders = {"plain" if params.reg.name == "none" else "regularised": PRETRAIN}
    if params.reg.name != "none" and not (PLAIN / NOT_TRAINED).exists():
        folders = {"plain": PLAIN, **folders}
    for kind, folder in folders.items():
        encoder, config = load_encoder(folder, device)
        check_source_data(source, config, params.data.crop, folder)
        readers.append((kind, partial(encode, encoder)))
    return readers


def batches(images: Images, device: torch.device) -> Iterator[Tensor]:
    """Images (B, 3, H, W) in [0, 1] on the device, in order."""
    for start in range(0, len(images), BATCH):
        yield to_unit_range(torch.from_numpy(images[start : start + BATCH]).to(device))


def read(images: Iterable[Tensor], readers: Readers) -> list[Tensor]:
    """Features (N, D) by each reader, of batches of images that are made once for all of them.

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    parts = [[reader(batch) for _, reader in readers] for batch in images]
    found = [torch.cat(part) for part in zip(*parts, strict=True)]
    for (kind, _), features in zip(readers, found, strict=True):
        require_finite(features.cpu().numpy(), f"the encoder {kind}")
    return found
