"""Weighted nearest neighbours: what the features say without any training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ENTRIES = 1 << 24  # of the largest temporary array: 64 MiB in float32


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
    k = min(k, len(train))
    keys, queries = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    rows = max(1, ENTRIES // (len(train) + k * classes))
    answers = [
        _vote(chunk @ keys.T, train_labels, classes, k, temperature) for chunk in torch.split(queries, rows)
    ]
    return torch.cat(answers)


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
    k = min(k, len(train))
    keys, queries = F.normalize(train.float(), dim=1), F.normalize(test.float(), dim=1)
    rows = max(1, ENTRIES // (len(train) + k * values.shape[1]))
    answers = []
    for chunk in torch.split(queries, rows):
        similarity, nearest = (chunk @ keys.T).topk(k, dim=1)
        weights = (similarity / temperature).double().softmax(dim=1)
        answers.append(torch.einsum("bk,bkc->bc", weights, values[nearest].double()))
    return torch.cat(answers)


def _vote(cosine: Tensor, labels: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Classes (B,) by similarities (B, N); votes relative to the nearest's cannot overflow."""
    similarity, nearest = cosine.topk(k, dim=1)
    weights = ((similarity - similarity[:, :1]) / temperature).exp()  # (B, k)
    votes = F.one_hot(labels[nearest], classes).to(weights.dtype)  # (B, k, C)
    return torch.einsum("bk,bkc->bc", weights, votes).argmax(dim=1)
