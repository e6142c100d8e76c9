"""Networks small enough to be worked out on paper, or run by slow loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InPlaceNetwork(nn.Module):
    """In-place ReLU directly after convolutions (one with stride and groups) and after Linear."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False)
        self.fc1 = nn.Linear(6 * 2 * 2, 5)
        self.fc2 = nn.Linear(5, classes)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 6, 6)."""
        x = self.relu(self.conv1(images))
        x = self.relu(self.conv2(x))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


class TwiceNetwork(nn.Module):
    """Calls one module twice, and defines its layers in another order than it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.shared = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 1, 2, 2)."""
        x = torch.relu(self.shared(images.flatten(1)))
        return self.head(torch.relu(self.shared(x)))


class MixedNetwork(nn.Module):
    """Modules with weights beside the linear layers, called and not called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.up = nn.ConvTranspose2d(2, 4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.fc = nn.Linear(4, 3)
        self.spare = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, m, m)."""
        x = self.up(self.norm(images)).flatten(2).transpose(1, 2)
        x, _ = self.attention(x, x, x)
        return self.fc(x).mean(dim=1)


class PickyNetwork(nn.Module):
    """Leaves its hidden layer out for batches of one image, and fails on images below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 1, 2, 2)."""
        x = images.flatten(1)
        if len(x) > 1:
            x = self.hidden(x)
        if bool((images < 0).any()):
            raise ArithmeticError("an image lies below zero")
        return self.head(x)


class Colours(nn.Module):
    """Three layers for coloured pictures, seeded: convolutions with a residual sum and pooling."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
            self.fc = nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 3, m, n)."""
        x = torch.relu(self.norm(self.conv1(images)))
        x = torch.nn.functional.max_pool2d(x, 2)
        x = torch.relu(x + self.conv2(x))
        return self.fc(x.mean(dim=(2, 3)))


def not_a_network() -> int:
    """What a factory of a network must not give."""
    return 3
