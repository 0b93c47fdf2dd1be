"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from infocl.batch import Batch, Term


class Objective(nn.Module, ABC):
    """Contrasts two views; owns its projector, never sees the regulariser.

    Attributes:
        projector: maps the representation (B, D) to the embedding that is contrasted.
        needs_labels: whether it works only on labelled data.
    """

    projector: nn.Module
    needs_labels = False

    @abstractmethod
    def forward(self, batch: Batch) -> Term:
        """The loss of a batch and its named parts."""

    def embed(self, features: Tensor) -> Tensor:
        """The embedding (B, P) of representations (B, D)."""
        embedding: Tensor = self.projector(features)
        return embedding

    def momentum(self, step: int, total_steps: int) -> float | None:
        """Share that the momentum target keeps at this step, in 0..1; None when there is no target."""
        return None

    def target_modules(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """Further modules that a momentum target follows, (online, target) by name; none by default."""
        return {}


def mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Linear, ReLU, linear: the projector of SimCLR on small images, without BatchNorm."""
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim))
