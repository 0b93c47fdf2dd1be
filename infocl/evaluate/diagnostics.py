"""What features are like without labels: rank, dead units, alignment, uniformity, shared information."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.config import ViewParams
from infocl.encoder.network import Encoder
from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views
from infocl.evaluate.features import encode
from infocl.evaluate.scaling import Scaling, rounding_noise

RANKME_EPSILON = 1e-7
RANKME_IMAGES = 25_600
DEAD_SHARE = 1e-6
VIEW_IMAGES = 1024
VIEW_BATCH = 256
TEMPERATURES: list[float] = np.logspace(-2, 1, 31).tolist()
DIAGNOSTIC_VIEWS = 100
DIAGNOSTIC_IMAGES = 101


def rankme(features: Tensor) -> float:
    r"""Effective rank, a smooth count of the directions that features use.

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \quad p_k = \frac{\sigma_k}{\|\sigma\|_1} + \epsilon

    Args:
        features: uncentred, (N, D).

    Returns:
        From 1 to min(N, D), up to what epsilon adds; 0 when all features are zero.

    Reference: Garrido et al., "RankMe", ICML 2023, equation 1; epsilon 1e-7 and 25,600 images there.
    """
    sigma = torch.linalg.svdvals(features.double())
    total = sigma.sum()
    if total == 0:
        return 0.0
    p = sigma / total + RANKME_EPSILON
    return float(torch.exp(-(p * p.log()).sum()))


def dead_units(features: Tensor) -> float:
    """Share of the features (N, D) that do not vary, in 0..1.

    A unit is dead when its standard deviation is at most 1e-6 of the largest one, or no more than
    float32 rounding of its mean.
    """
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    return float((std <= torch.maximum(DEAD_SHARE * std.max(), rounding_noise(mean))).double().mean())


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance between the L2-normalised features (N, D) of two views, in 0..4; 0 is best.

    Reference: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity", ICML 2020, with alpha 2.
    """
    gap = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return float(gap.square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Log of the mean Gaussian potential of the pairs of L2-normalised features (N, D), N >= 2.

    0 when all are equal, lower when they spread over the sphere, never below -8.

    Reference: Wang and Isola, ICML 2020, with t 2.
    """
    distances = F.pdist(F.normalize(features.double(), dim=1))
    return float((-2 * distances.square()).exp().mean().log())


def info_nce(first: Tensor, second: Tensor, temperature: float) -> float:
    r"""InfoNCE lower bound on I(z1; z2) with the critic cos(z1, z2) / tau, the mean of both directions:

    .. math:: \frac1N \sum_i \log \frac{e^{\cos(a_i, b_i)/\tau}}{\frac1N \sum_j e^{\cos(a_i, b_j)/\tau}}

    Args:
        first: features of view 1, (N, D).
        second: features of view 2 of the same images.
        temperature: tau, above 0; must not have been chosen on these pairs.

    Returns:
        Nats, at most log N. It may be negative: then the bound says nothing.

    Reference: van den Oord et al., "Representation Learning with Contrastive Predictive Coding",
    arXiv 1807.03748, equation 4 and appendix A.1; Poole et al., ICML 2019, equation 10.
    """
    logits = F.normalize(first.double(), dim=1) @ F.normalize(second.double(), dim=1).T / temperature
    partner = torch.arange(len(first), device=first.device)
    loss = (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2
    return math.log(len(first)) - float(loss)


def choose_temperature(first: Tensor, second: Tensor) -> float:
    """The temperature of a grid from 0.01 to 10 with the highest `info_nce` on these pairs."""
    bounds = [info_nce(first, second, temperature) for temperature in TEMPERATURES]
    return TEMPERATURES[int(np.argmax(bounds))]


def choose_images(images: int, seed: int, limit: int) -> npt.NDArray[np.int64]:
    """Rows of at most `limit` images, drawn without replacement, in the order of the file."""
    generator = np.random.default_rng(derive_seed(seed, DIAGNOSTIC_IMAGES))
    return np.sort(generator.choice(images, size=min(images, limit), replace=False))


@torch.inference_mode()
def encode_views(
    encoder: Encoder, images: npt.NDArray[np.uint8], params: ViewParams, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features of two random views of every image, drawn as in pretraining.

    Args:
        encoder: in evaluation mode, on `device`.
        images: uint8 (N, S, S, 3).
        params: strengths of the augmentations.
        seed: of the draws.
        device: where to compute.

    Returns:
        The features (N, D) of view 1 and of view 2.
    """
    views = Views(params, images.shape[1])
    pairs: list[Tensor] = []
    for start in range(0, len(images), VIEW_BATCH):
        batch = torch.from_numpy(np.array(images[start : start + VIEW_BATCH])).to(device)
        drawn = views(batch, derive_seed(seed, DIAGNOSTIC_VIEWS, start))
        pairs.append(torch.stack([encode(encoder, view) for view in drawn], dim=1))  # (B, 2, D)
    first, second = torch.cat(pairs).unbind(dim=1)
    return first, second


def describe_features(features: Tensor, seed: int) -> dict[str, float]:
    """Rank, width, norm and dead units of unstandardised features (N, D)."""
    rows = choose_images(len(features), seed, RANKME_IMAGES)
    return {
        "rankme": rankme(features[rows]),
        "dim": features.shape[1],
        "dead_units": dead_units(features),
        "feature_norm": float(torch.linalg.vector_norm(features.double(), dim=1).mean()),
    }


def describe_views(first: Tensor, second: Tensor, scaling: Scaling) -> dict[str, float]:
    """Alignment, uniformity and shared information of held-out views.

    Alignment and uniformity are of the features as they are. The critic of the bound sees them
    standardised by the training images' statistics; its temperature is chosen on every fourth pair
    and the bound is measured on the others, so that it stays a bound.

    Args:
        first: unstandardised features of view 1, (N, D), N >= 8.
        second: features of view 2 of the same images.
        scaling: fitted to the training images' features.
    """
    scaled1, scaled2 = scaling(first), scaling(second)
    choosing = torch.arange(len(first), device=first.device) % 4 == 0
    temperature = choose_temperature(scaled1[choosing], scaled2[choosing])
    return {
        "alignment": alignment(first, second),
        "uniformity": (uniformity(first) + uniformity(second)) / 2,
        "info_nce_nats": info_nce(scaled1[~choosing], scaled2[~choosing], temperature),
        "info_nce_ceiling_nats": math.log(int((~choosing).sum())),
        "info_nce_temperature": temperature,
        "view_images": len(first),
    }
