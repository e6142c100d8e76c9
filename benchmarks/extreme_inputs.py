"""Tiny networks and images for ``benchmarks.extremes``: many of one thing, little of the rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Residual(nn.Module):
    """A convolution whose output is added to its input, so that hundreds of them carry a signal."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The input and a tenth of what the convolution makes of it."""
        return x + 0.1 * self.conv(torch.relu(x))


def network(layers: int, channels: int, classes: int) -> nn.Module:
    """So many linear layers: convolutions of so many channels, and one that names the class."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            *(Residual(channels) for _ in range(layers - 2)),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * channels, classes),
        )


class Patterns(Dataset[tuple[Tensor, int]]):
    """Images of a square side: the pattern of their class under noise of their own."""

    def __init__(self, classes: int, per_class: int, side: int) -> None:
        random = np.random.default_rng(0)
        self.patterns = random.random((classes, side, side), dtype=np.float32)
        self.per_class = per_class
        self.classes = [f"class {c}" for c in range(classes)]

    def __len__(self) -> int:
        return len(self.patterns) * self.per_class

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        target = index // self.per_class
        pattern = self.patterns[target]
        noise = np.random.default_rng(index).random(pattern.shape, dtype=np.float32)
        return torch.from_numpy(0.8 * pattern + 0.2 * noise)[None], target
