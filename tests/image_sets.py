"""Small labelled image sets, as a person might bring them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


def photograph(width: int = 300, height: int = 200, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, as cameras give them."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (12, 18, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(
        (smooth + random.integers(-8, 9, smooth.shape)).clip(0, 255).astype("u1")
    )


class Greys:
    """Uint8 pictures (1, 4, 6) of one grey each, labelled 0, 1, 2, 0, 1, 2, ..."""

    classes = ("black", "grey", "white")

    def __init__(self, images: int = 9) -> None:
        self.targets = [i % 3 for i in range(images)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int):
        grey = 127 * self.targets[index]
        return torch.full((1, 4, 6), grey, dtype=torch.uint8), self.targets[index]


class Floats:
    """Float tensors (1, 2, 2) with no list of labels: they must be asked for one by one."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int):
        if not 0 <= index < 4:
            raise IndexError(index)
        return torch.full((1, 2, 2), float(index)), index // 2


class Ragged(Floats):
    """Float tensors of different sizes."""

    def __getitem__(self, index: int):
        return torch.zeros(1, 2 + index, 2), 0


class OneOdd(Floats):
    """Float tensors of one size but the third."""

    def __getitem__(self, index: int):
        return torch.full((1, 3 if index == 2 else 2, 2), float(index)), index // 2


class Broken(Floats):
    """An image set whose third image cannot be read; a list has its label."""

    targets = (0, 0, 1, 1)

    def __getitem__(self, index: int):
        if index == 2:
            raise OSError("the disk is gone")
        return torch.zeros(1, 2, 2), self.targets[index]


class Nameless(Floats):
    """An image set without a list of labels, whose third image cannot be read."""

    def __getitem__(self, index: int):
        if index == 2:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


class Labelled:
    """An image set with whatever labels it is told to have."""

    def __init__(self, labels: list, classes: tuple[str, ...] = ()) -> None:
        self.labels, self.classes = labels, classes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return torch.zeros(1, 2, 2), self.labels[index]


class Separable:
    """Float tensors (1, 2, 2): noise about -1 for class 0 and about 1 for class 1."""

    classes = ("low", "high")

    def __init__(self, images: int = 20) -> None:
        noise = np.random.default_rng(0).normal(0, 0.1, (images, 1, 2, 2))
        self.targets = [i % 2 for i in range(images)]
        centre = 2 * np.array(self.targets).reshape(-1, 1, 1, 1) - 1
        self.images = torch.from_numpy((centre + noise).astype(np.float32))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int):
        return self.images[index], self.targets[index]


class Channels:
    """Float tensors (2, 6, 6): noise, brighter in no channel, the first, or both, by class."""

    def __init__(self, images: int = 24, classes: int = 3) -> None:
        noise = np.random.default_rng(0).normal(0, 0.1, (images, 2, 6, 6)).astype(np.float32)
        self.targets = [i % classes for i in range(images)]
        for i, target in enumerate(self.targets):
            noise[i, :target] += 1
        self.images = torch.from_numpy(noise)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int):
        return self.images[index], self.targets[index]


class Shaped:
    """Seeded float inputs of a shape, of three classes by their mean; some entries may be NaN."""

    classes = ("low", "middle", "high")

    def __init__(self, shape: list[int], images: int = 12, nan: tuple[int, ...] = ()) -> None:
        noise = np.random.default_rng(0).normal(0, 1, (images, *shape)).astype(np.float32)
        self.targets = [i % 3 for i in range(images)]
        for i, target in enumerate(self.targets):
            noise[i] += target
        for i in nan:
            noise[i].flat[-1] = np.nan
        self.images = torch.from_numpy(noise)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int):
        return self.images[index], self.targets[index]


def stream():
    """An image set with no length and no index."""
    return iter([(torch.zeros(1, 2, 2), 0)])
