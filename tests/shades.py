"""Shades of grey, and a network that tells them apart if they are standardised as it expects."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

#: What the network was made for.
RIGHT = {"mean": [0.5], "std": [0.25]}


class Shades:
    """Uint8 pictures (1, 8, 8) about 10, 50 and 90 % grey, sorted by class."""

    classes = ("dark", "middle", "light")

    def __init__(self, images: int = 60) -> None:
        self.targets = sorted(i % 3 for i in range(images))
        noise = np.random.default_rng(0).normal(0, 12, (images, 1, 8, 8))
        centre = 25 + 102 * np.array(self.targets).reshape(-1, 1, 1, 1)
        self.images = torch.from_numpy((centre + noise).clip(0, 255).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


class PairsOfShades(Shades):
    """Their labels are groups of the network's classes: the middle one counts as dark."""

    classes = ("light", "not light")
    class_of_output = (1, 1, 0)

    def __init__(self, images: int = 60) -> None:
        super().__init__(images)
        self.targets = [self.class_of_output[target] for target in self.targets]


class ShadesNetwork(nn.Module):
    """Scores -2z - 1, 0 and 2z - 1 of the mean z of standardised images: limits at ±1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Conv2d(1, 2, 8)
        self.head = nn.Linear(2, 3)
        with torch.no_grad():
            self.mean.weight.copy_(
                torch.tensor([1 / 64, -1 / 64]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
            )
            self.mean.bias.zero_()
            self.head.weight.copy_(torch.tensor([[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]]))
            self.head.bias.copy_(torch.tensor([-1.0, 0.0, -1.0]))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 1, 8, 8)."""
        return self.head(self.mean(images).flatten(1))
