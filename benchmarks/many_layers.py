"""A made-up run of 56 layers and 1,000 classes: its network, its images, and its run file.

The network has seeded weights and was never trained. Images of a class are one pattern with noise,
and fifty groups of classes share a pattern, so that singular vectors answer to some classes.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

LAYERS, CLASSES, GROUPS = 56, 1000, 50
_CHANNELS, _SIDE, _COARSE = 128, 32, 8


def run_file(layers: int = LAYERS, classes: int = CLASSES) -> str:
    """The run file, as JSON, which is YAML too."""
    module = "benchmarks.many_layers"
    return json.dumps(
        {
            "name": f"{classes:,} made-up classes",
            "model": {
                "factory": f"{module}:ManyLayers",
                "kwargs": {"layers": layers, "classes": classes},
            },
            "images": {"factory": f"{module}:Patterns", "kwargs": {"classes": classes}},
            "significance": {"quantile": 0.9, "percentage": 75},
            "capacity": [],
            "visualizations": {"targets": "none"},
        },
        indent=1,
    )


class ManyLayers(nn.Module):
    """A convolution, residual convolutions on a grid of 8 x 8, and a fully connected layer."""

    def __init__(self, classes: int = CLASSES, layers: int = LAYERS) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, _CHANNELS, _SIDE // _COARSE, stride=_SIDE // _COARSE)
            self.blocks = nn.ModuleList(
                nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1) for _ in range(layers - 2)
            )
            self.last = nn.Linear(_CHANNELS, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (n, 3, 32, 32)."""
        x = self.first(images)
        for block in self.blocks:
            x = x + block(x.relu())
        return self.last(x.relu().mean((2, 3)))


class Patterns:
    """Images (3, 32, 32) as uint8: the pattern of a group, that of a class, and noise."""

    def __init__(self, classes: int = CLASSES, per_class: int = 4) -> None:
        random = np.random.default_rng(0)
        self.classes = tuple(f"class {c}" for c in range(classes))
        self.targets = np.repeat(np.arange(classes), per_class).tolist()
        shape = (3, _COARSE, _COARSE)
        of_group = random.normal(0, 1.2, (GROUPS, *shape))
        of_class = of_group[np.arange(classes) % GROUPS] + random.normal(0, 0.6, (classes, *shape))
        coarse = torch.from_numpy(of_class[self.targets])
        coarse += torch.from_numpy(random.normal(0, 0.2, coarse.shape))
        smooth = interpolate(coarse, size=_SIDE, mode="bilinear")
        self._images = (127 + 50 * smooth).clamp(0, 255).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._images[index] / 255 - 0.5, self.targets[index]
