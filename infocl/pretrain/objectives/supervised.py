"""Supervised cross-entropy on both views: the control with labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from infocl.encoder.numerics import at_least_float32
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective
from infocl.pretrain.objectives.params import SupervisedParams


class Supervised(Objective):
    """A linear classifier on the representation of each view; the embedding is the representation.

    Args:
        params: the block `objective.supervised`.
        dim: width D of the representation.
        classes: C, of the labels.

    Reference: the control of Wang et al., CVPR 2022 (with the colour jitter at half strength there).
    """

    needs_labels = True

    def __init__(self, params: SupervisedParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.smoothing = params.label_smoothing
        self.projector = nn.Identity()
        self.classifier = nn.Linear(dim, classes)

    def forward(self, batch: Batch) -> LossTerm:
        """Mean cross-entropy of both views in nats; part `train_accuracy` in 0..1.

        Raises:
            ValueError: the batch has no labels.
        """
        if batch.labels is None:
            raise ValueError("supervised pretraining needs labels, but the batch has none")
        labels = torch.cat([batch.labels, batch.labels])
        logits = self.classifier(torch.cat([batch.view1.features, batch.view2.features]))
        right = (logits.detach().argmax(1) == labels).float().mean()
        loss = F.cross_entropy(at_least_float32(logits), labels, label_smoothing=self.smoothing)
        return LossTerm(loss, {"train_accuracy": right})
