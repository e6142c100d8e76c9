"""Networks of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PaperNetwork(nn.Module):
    """The simple CNN 𝒩 of section 4.2, for one-channel images of 28×28 pixels.

    conv1 (1→32, 3×3), ReLU, conv2 (32→64, 3×3), ReLU, max-pool 2×2, fc1 (9216→128), ReLU,
    fc2 (128→classes). The softmax at its end is left to the loss and to whoever asks for
    probabilities, as is usual in torch.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes), of images of shape (n, 1, 28, 28)."""
        x = torch.relu(self.conv1(images))
        x = torch.relu(self.conv2(x))
        x = torch.max_pool2d(x, 2).flatten(1)
        x = torch.relu(self.fc1(x))
        return self.fc2(x)
