"""What is left of an image: what a decoder rebuilds from frozen features, and which images they are near."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.audit.readers import Readers, batches, read
from infocl.encoder.decoder import Decoder
from infocl.encoder.numerics import derive_seed
from infocl.evaluate.diagnostics import choose_images
from infocl.evaluate.scaling import fit_scaling
from infocl.prepared.reader import Prepared
from infocl.prepared.rows import evenly_spread
from infocl.runtime.files import replacing_folder, write_array, write_json
from infocl.runtime.paths import AUDIT

SIDE = 32  # px of what is rebuilt, whatever the size of the images
CHANNELS, BATCH, LEARNING_RATE = 64, 128, 3e-3  # of the decoder: the same for every encoder
SHOWN = 8  # images that are rebuilt
MOST = 4096  # images of a split that are looked at
MAPPED = 1500  # images whose features are kept to be laid out in the plane
ASKED, NEAREST = 6, 5  # images whose neighbours are shown, and how many of each
DECODER = 303  # purpose of a derived seed


def make_pictures(
    source: Prepared, encoders: Readers, sha256: str, steps: int, seed: int, device: torch.device
) -> None:
    """Write `models/audit/`: test images as they are rebuilt from features, their neighbours, their features.

    `rebuilt.npy`, uint8 (1 + E, 8, 32, 32, 3), has the images and below them what each encoder leaves;
    `neighbours.npy`, int64 (E, 6, 1 + 5), the rows of the test split that are nearest to six of them;
    `features.npy`, float32 (E, M, D), features of at most 1,500 images, and `rows.npy`, int64 (M,), their
    rows of the test split; `meta.json` the encoders' kinds, the `sha256` of the weights in
    `models/pretrain`, and which test images these are.
    """
    train, test = source.split("train"), source.split("test")
    chosen = choose_images(len(test), seed, MOST)
    splits = train.images[choose_images(len(train), seed, MOST)], test.images[chosen]
    shown, asked, mapped = (evenly_spread(len(chosen), most) for most in (SHOWN, ASKED, MAPPED))
    with torch.no_grad():
        known, new = (read(batches(images, device), encoders) for images in splits)
        small, rebuilt = (
            torch.cat([shrink(batch) for batch in batches(images, device)])
            for images in (splits[0], splits[1][shown])
        )
    rows = [rebuilt]
    for fitted, others in zip(known, new, strict=True):
        rows.append(rebuild(fitted, small, others[shown], steps, derive_seed(seed, DECODER)))
    sheet = torch.stack(rows).mul(255).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
    neighbours = np.stack([chosen[nearest(features, asked)] for features in new])
    with replacing_folder(AUDIT) as folder:
        write_array(folder / "rebuilt.npy", sheet.cpu().numpy())
        write_array(folder / "neighbours.npy", neighbours)
        write_array(folder / "features.npy", np.stack([each[mapped].float().cpu().numpy() for each in new]))
        write_array(folder / "rows.npy", chosen[mapped])
        about = {"kinds": [kind for kind, _ in encoders], "encoder_sha256": sha256}
        about["images_sha256"] = test.images_sha256
        write_json(folder / "meta.json", about)


def shrink(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) at 32 px."""
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)


def rebuild(features: Tensor, images: Tensor, others: Tensor, steps: int, seed: int) -> Tensor:
    """Fit a decoder to frozen features and let it rebuild other images from theirs.

    Adam on the squared error of standardised pixels, whatever the encoder; features are
    standardised first, so that their scale does not matter.

    Args:
        features: of the images to fit, (N, D).
        images: in [0, 1], (N, 3, 32, 32).
        others: features of the images to rebuild, (M, D).
        steps: of the fit, the same for every encoder.
        seed: of the initial weights and the batches.

    Returns:
        (M, 3, 32, 32) in [0, 1].
    """
    scaling = fit_scaling(features)
    known = scaling(features).float()
    std, mean = torch.std_mean(images, (0, 2, 3), keepdim=True)
    wanted = (images - mean) / std.clamp(min=1 / 255)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        decoder = Decoder(features.shape[1], CHANNELS, SIDE)
    decoder.to(features.device)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(known), (BATCH,), generator=generator).to(known.device)
        optimizer.zero_grad()
        torch.autograd.backward(F.mse_loss(decoder(known[rows]), wanted[rows]))
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        rebuilt: Tensor = decoder.eval()(scaling(others).float()) * std + mean
    return rebuilt.clamp(0, 1)


def nearest(features: Tensor, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of the images that are nearest to some, by the cosine of standardised features.

    Args:
        features: of all images, (N, D).
        rows: whose neighbours are wanted, (A,).

    Returns:
        int64 (A, 1 + k): each row itself, then its nearest, the nearest first; k is 5, or N - 1 if less.
    """
    unit = F.normalize(fit_scaling(features)(features), dim=1)
    likeness = unit[rows] @ unit.T
    likeness[torch.arange(len(rows)), torch.from_numpy(rows).to(unit.device)] = torch.inf
    found = likeness.topk(min(1 + NEAREST, len(features)), dim=1).indices
    neighbours: npt.NDArray[np.int64] = found.cpu().numpy()
    return neighbours
