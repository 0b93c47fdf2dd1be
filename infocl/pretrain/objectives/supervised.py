"""Supervised cross-entropy on one view or both: the control with labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from infocl.encoder.numerics import at_least_float32
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective
from infocl.pretrain.objectives.params import SupervisedParams


class Supervised(Objective):
    """A linear classifier on the representation of each view; the embedding is the representation.

    Reference: the control of Wang et al., CVPR 2022 (there with one view of an image, and the colour
    jitter at half strength).
    """

    needs_labels = True

    def __init__(self, params: SupervisedParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.smoothing = params.label_smoothing
        self.views = params.views
        self.projector = nn.Identity()
        self.classifier = nn.Linear(dim, classes)

    def forward(self, batch: Batch) -> LossTerm:
        """Mean cross-entropy of all views in nats; part `train_accuracy` in 0..1.

        Raises:
            ValueError: the batch has no labels.
        """
        if batch.labels is None:
            raise ValueError("supervised pretraining needs labels, but the batch has none")
        labels = batch.labels.repeat(self.views)
        logits = self.classifier(batch.features)
        right = (logits.detach().argmax(1) == labels).float().mean()
        loss = F.cross_entropy(at_least_float32(logits), labels, label_smoothing=self.smoothing)
        return LossTerm(loss, {"train_accuracy": right})
