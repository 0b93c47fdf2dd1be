"""Weighted nearest neighbours: what the features say without any training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

ENTRIES = 1 << 24  # of the largest temporary array: 64 MiB in float32
TILE = 1 << 13  # training images that are compared at once


def knn_predict(
    train: Tensor, train_labels: Tensor, test: Tensor, classes: int, k: int, temperature: float
) -> Tensor:
    r"""Classify by the k most similar training images, each voting with

    .. math:: w_i = \exp(\cos(x, x_i) / \tau)

    Args:
        train: standardised features of the training images, (N, D).
        train_labels: int64 (N,) in 0..classes-1.
        test: standardised features of the images to classify, (M, D).
        classes: C, the number of classes.
        k: neighbours; clipped to N.
        temperature: tau, above 0.

    Returns:
        The class with the largest sum of votes, int64 (M,).

    Reference: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    CVPR 2018, section 3.4 (k = 200 and tau = 0.07 there).
    """
    near = _nearest(train, test, k, classes)
    return torch.cat([_vote(*each, train_labels, classes, temperature) for each in near])


def knn_average(train: Tensor, values: Tensor, test: Tensor, k: int, temperature: float) -> Tensor:
    """The mean of the values of the k most similar training images, weighted as the votes of `knn_predict`.

    Args:
        train: standardised features of the training images, (N, D).
        values: theirs, (N, C).
        test: standardised features of the images to answer for, (M, D).
        k: neighbours; clipped to N.
        temperature: tau, above 0.

    Returns:
        float64 (M, C).
    """
    answers = []
    for similarity, nearest in _nearest(train, test, k, values.shape[1]):
        weights = (similarity / temperature).double().softmax(dim=1)
        answers.append(torch.einsum("bk,bkc->bc", weights, values[nearest].double()))
    return torch.cat(answers)


def _nearest(train: Tensor, test: Tensor, k: int, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cosines and numbers of the k nearest rows, (B, k) each, for one chunk of test rows after the other.

    Training rows are compared a tile at a time, so that each tile is read once for a few hundred test rows
    however many there are. Beside both sets takes normalised float32 copies of them and a few times
    `ENTRIES` float32 numbers.
    """
    k = min(k, len(train))
    keys, queries = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    rows = max(1, ENTRIES // (min(len(train), TILE) + k * columns))
    for chunk in torch.split(queries, rows):
        similarity, nearest = chunk.new_empty(len(chunk), 0), train.new_empty(len(chunk), 0, dtype=torch.long)
        for number, tile in enumerate(torch.split(keys, TILE)):
            found, place = (chunk @ tile.T).topk(min(k, len(tile)), dim=1)
            similarity = torch.cat([similarity, found], dim=1)
            nearest = torch.cat([nearest, place + number * TILE], dim=1)
            if number:
                similarity, best = similarity.topk(min(k, similarity.shape[1]), dim=1)
                nearest = nearest.gather(1, best)
        yield similarity, nearest


def _vote(similarity: Tensor, nearest: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Classes (B,) by the nearest (B, k); votes relative to the nearest's cannot overflow."""
    weights = ((similarity - similarity[:, :1]) / temperature).exp()  # (B, k)
    votes = F.one_hot(labels[nearest], classes).to(weights.dtype)  # (B, k, C)
    return torch.einsum("bk,bkc->bc", weights, votes).argmax(dim=1)
