"""The classic three-layer pair: 100 → 256 → 256 → 784 with tanh, and 784 → 256 → 128 → 1.

It makes samples of any shape by flattening them, so it knows nothing of space: cheap a step, never sharp. The network
of choice where a convolutional one cannot make the shape, and the one tutorials start with.
Goodfellow et al. 2014, "Generative Adversarial Nets".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from motherlode.networks.blocks import LabelledNoise, ProjectionHead
from motherlode.networks.shapes import Float, Int


class MlpGenerator(nn.Module):
    """Noise (B, Z) and labels (B,) to samples (B, *shape) in [-1, 1]."""

    def __init__(self, shape: Sequence[int], *, num_noise: int = 100, width: int = 256, num_labels: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.labelled = LabelledNoise(num_noise, num_labels)
        self.layers = nn.Sequential(
            nn.Linear(self.labelled.num_out, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, math.prod(shape)),
            nn.Tanh(),
        )

    def forward(
        self, noise_BZ: Float[Tensor, "batch noise"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels *space"]:
        """Make samples."""
        samples: Tensor = self.layers(self.labelled(noise_BZ, labels_B))
        return samples.view(-1, *self.shape)


class MlpCritic(nn.Module):
    """Samples (B, *shape) and labels (B,) to outputs (B,), without a sigmoid."""

    def __init__(self, shape: Sequence[int], *, width: int = 256, num_labels: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(math.prod(shape), width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width // 2),
            nn.LeakyReLU(0.2),
        )
        self.head = ProjectionHead(width // 2, 1, num_labels)

    def forward(
        self, samples: Float[Tensor, "batch channels *space"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Judge samples."""
        outputs_B: Tensor = self.head(self.layers(samples.flatten(1)), labels_B)
        return outputs_B
