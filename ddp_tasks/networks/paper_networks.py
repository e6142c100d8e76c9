"""Networks that presets and zoos name: the paper's own and those of its sources."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class PaperNetwork(nn.Module):
    """The simple CNN 𝒩 of section 4.2, for one-channel images of 28×28 pixels.

    conv1 (1→32, 3×3), ReLU, conv2 (32→64, 3×3), ReLU, max-pool 2×2, fc1 (9216→128), ReLU,
    fc2 (128→classes). The final softmax is left to the loss or the caller, as is usual in torch.
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


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions with a parameter-free shortcut (option A: padded channels)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        half = self.added // 2
        return torch.relu(out + pad(shortcut, (0, 0, 0, 0, half, self.added - half)))


class CifarResNet(nn.Module):
    """The residual network for images of 32×32 pixels of He et al. 2015, section 4.2.

    A 3×3 convolution, three stages of (depth - 2) / 6 blocks with 16, 32 and 64 filters, mean
    over positions, one linear layer. Shortcuts have no parameters (option A).

    Raises
    ------
    ValueError
        If depth is not 6n + 2.
    """

    def __init__(self, depth: int = 20, classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth is {depth}; 6n + 2 is allowed, such as 20, 32, 44 or 56")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes), of images of shape (n, 3, 32, 32)."""
        x = torch.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


class CifarVGG16(nn.Module):
    """VGG-16 with BatchNorm (Simonyan and Zisserman 2015) for images of 32×32 pixels.

    It has the thirteen convolutions of torchvision's ``vgg16_bn``, whose five poolings leave one
    position, and one linear layer instead of three.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        from torchvision.models import vgg16_bn

        self.features = vgg16_bn(weights=None).features
        self.classifier = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes), of images of shape (n, 3, 32, 32)."""
        return self.classifier(self.features(images).flatten(1))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = _BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *[_BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)])
