"""scikit-learn's handwritten digits, enlarged to the size of MNIST's."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

#: Images of each class that are analysed and therefore never trained on (section 5.2).
HELD_OUT = 50


class Digits(Dataset[tuple[Tensor, int]]):
    """The 1,797 digits of 8×8 pixels as float tensors (1, 28, 28), 0 for paper and 1 for ink.

    ``analysed=True`` gives 50 images of each class, spread evenly over its images, and
    ``analysed=False`` all others. The set is ordered by writer, so the even spread puts every
    writer into both parts.
    """

    classes = tuple(str(digit) for digit in range(10))

    def __init__(self, analysed: bool = True) -> None:
        images, targets = load_digits(return_X_y=True)
        held_out = np.zeros(len(targets), dtype=bool)
        for digit in range(10):
            members = np.flatnonzero(targets == digit)
            held_out[members[np.linspace(0, len(members) - 1, HELD_OUT).astype(int)]] = True
        chosen = np.flatnonzero(held_out == analysed)
        pixels = torch.from_numpy(images[chosen].astype(np.float32) / 16).reshape(-1, 1, 8, 8)
        enlarged = interpolate(pixels, size=(28, 28), mode="bicubic", align_corners=False)
        self.images = enlarged.clamp_(0, 1)
        self.targets: list[int] = targets[chosen].tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]
