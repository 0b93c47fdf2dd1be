"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from infocl.batch import Term, View


class Objective(nn.Module, ABC):
    """Contrasts two views; owns its projector, never sees the regulariser."""

    @abstractmethod
    def forward(self, view1: View, view2: View) -> Term:
        """The loss of a batch and its named parts."""


def mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Linear, ReLU, linear: the projector of SimCLR on small images, without BatchNorm."""
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim))
