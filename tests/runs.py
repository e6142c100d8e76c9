"""A run small enough for a test, on real parts: its image sets, network and parameters."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schemas.parameters import RunParameters
from schemas.run_files import check

HERE = Path(__file__).resolve()


class TinyNetwork(nn.Module):
    """Two convolutions and two fully connected layers for images (2, 8, 8), seeded weights."""

    def __init__(self, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(2, 5, 3, padding=1)
            self.norm = nn.BatchNorm2d(5)
            self.conv2 = nn.Conv2d(5, 6, 3, stride=2)
            self.fc1 = nn.Linear(6 * 3 * 3, 7)
            self.fc2 = nn.Linear(7, classes)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        x = self.relu(self.norm(self.conv1(images)))
        x = self.relu(self.conv2(x))
        return self.fc2(self.relu(self.fc1(x.flatten(1))))


class UnseededNetwork(TinyNetwork):
    """Other weights at every call."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.normal_(self.fc2.weight)


class Noise:
    """Seeded noise (2, 8, 8), brighter in one channel or the other by class."""

    classes = ("left", "right", "both")

    def __init__(self, images: int = 30, seed: int = 0) -> None:
        self.targets = [i % 3 for i in range(images)]
        noise = np.random.default_rng(seed).normal(0, 1, (images, 2, 8, 8)).astype(np.float32)
        for i, target in enumerate(self.targets):
            noise[i, [0] if target == 0 else [1] if target == 1 else [0, 1]] += 2
        self.images = torch.from_numpy(noise)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


class Grouped(Noise):
    """Noise labelled by groups of the network's classes; its second class is in none."""

    classes = ("right", "left")
    class_of_output = (1, -1, 0)

    def __init__(self) -> None:
        super().__init__()
        self.targets = [i % 2 for i in range(len(self.targets))]


class Unreadable(Noise):
    """Noise some of whose images cannot be read."""

    def __init__(self, broken: Sequence[int] = (18,), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.broken = broken

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index in self.broken:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


class KillsItsWorker(Noise):
    """Noise whose image 18, read for the first time, kills the process that reads it."""

    def __init__(self, flag: str, owner: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flag, self.owner = Path(flag), owner

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        # The process that prepares the run reads images too, and is no worker.
        if index == 18 and os.getpid() != self.owner and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def tiny_run(
    images: str | dict[str, Any] = "Noise", kwargs: dict[str, Any] | None = None, **changes: Any
):
    """Parameters of a run over ``Noise``, in four shards; or over other images."""
    content: dict[str, Any] = {
        "name": "tiny",
        "model": {"factory": f"{HERE}:TinyNetwork"},
        "images": images
        if isinstance(images, dict)
        else {
            "factory": images if ":" in images else f"{HERE}:{images}",
            "kwargs": kwargs or {},
        },
        "significance": {"quantile": 0.8, "percentage": 60, "layers": {"fc*": {"quantile": 0.7}}},
        "shards": {"images": 8, "batch_size": 3},
        "exemplars": 4,
        "visualizations": {"targets": "none"},
        "cluster": "local",
    }
    return check(RunParameters, {**content, **changes}, "tiny")


def unreadable_run(broken, share, **changes):
    """The tiny run, some of whose images cannot be read; a share of them may."""
    run = tiny_run("Unreadable", {"broken": broken}, **changes)
    images = run.images.model_copy(update={"unreadable": share})
    return run.model_copy(update={"images": images})
