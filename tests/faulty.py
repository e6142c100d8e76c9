"""What goes wrong in a cluster, brought about by the images or the network of a tiny run.

Each is the image set ``Noise`` or the network ``TinyNetwork`` of ``runs``, to the bit, until the
fault strikes; ``flag`` and ``owner`` tell it when and where.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import zarr
from runs import Noise, TinyNetwork
from torch import Tensor

from ddp_tasks.marks import set_root_mark

HERE = Path(__file__).resolve()

#: The image at which faults strike: the third of shard 2, and none that the digest samples.
STRUCK = 18


class _Struck(Noise):
    """Noise that does something when a worker reads the struck image."""

    def __init__(self, flag: str = "", owner: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flag, self.owner = Path(flag), owner

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == STRUCK and os.getpid() != self.owner:
            self.strike()
        return super().__getitem__(index)

    def strike(self) -> None:
        raise NotImplementedError


class FillsItsDisk(_Struck):
    """While the flag is there, what its shard writes past 64 bytes of a file is refused."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if os.getpid() != self.owner:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            full = index >= STRUCK and index < 24 and self.flag.exists()
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 if full else hard, hard))
        return super().__getitem__(index)

    def strike(self) -> None:
        """Nothing more: the limit is set."""


def make_room() -> None:
    """Lift the limit that ``FillsItsDisk`` may have left on this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class TooGreat(_Struck):
    """While the flag is there, the struck image has a pixel whose sums are infinite."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = super().__getitem__(index)
        if index == STRUCK and self.flag.exists():
            image = image.clone()
            image[0, 4, 4] = 3e38
        return image, target

    def strike(self) -> None:
        """Nothing more: the image is changed where it is given out."""


class DeletesTheStore(_Struck):
    """The store, which the flag names, is gone when the struck image is read."""

    def strike(self) -> None:
        shutil.rmtree(self.flag, ignore_errors=True)


class ReplacesTheStore(_Struck):
    """The store, which the flag names, is another one each time the struck image is read."""

    def strike(self) -> None:
        zarr.open_group(store=self.flag, mode="r+").attrs["created"] = str(time.time_ns())
        set_root_mark(self.flag)


class OtherOnWorkers(Noise):
    """Other images in every process but its owner's."""

    def __init__(self, owner: int) -> None:
        super().__init__(seed=0 if os.getpid() == owner else 1)


class Waits(_Struck):
    """The struck image is read only once the flag is there; ``FLAG.reached`` says it is waited."""

    def strike(self) -> None:
        self.flag.with_suffix(".reached").touch()
        while not self.flag.exists():
            time.sleep(0.02)


class FailsTwice(TinyNetwork):
    """Fails on the struck image in its first two attempts, which are counted in a file."""

    def __init__(self, attempts: str, most: int = 2) -> None:
        super().__init__()
        self.attempts, self.most = Path(attempts), most
        self.struck = Noise().images[STRUCK]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        if any(torch.equal(image.cpu(), self.struck) for image in images):
            with self.attempts.open("a") as file:
                file.write(".")
            if len(self.attempts.read_text()) <= self.most:
                raise RuntimeError("the accelerator fell off the bus")
        return super().forward(images)


class CountsItself(TinyNetwork):
    """Writes the process that makes it into a file."""

    def __init__(self, makers: str) -> None:
        super().__init__()
        with Path(makers).open("a") as file:
            file.write(f"{os.getpid()}\n")
