"""What goes wrong in a cluster, brought about by the images or the network of a tiny run.

Each is the image set ``Noise`` or the network ``TinyNetwork`` of ``runs``, to the bit, until the
fault strikes: in workers alone, and where there is a ``flag``, as that tells.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import zarr
from distributed import Worker
from runs import Noise, TinyNetwork
from torch import Tensor

from ddp_tasks.files.whole import write_whole
from ddp_tasks.store.marks import set_root_mark

HERE = Path(__file__).resolve()

#: The image at which faults strike: the third of shard 2, and none that the digest samples.
STRUCK = 18


def on_a_worker() -> bool:
    """Whether this process is a Dask worker, and no flow's own."""
    return len(Worker._instances) > 0


class _Struck(Noise):
    """Noise that does something when a worker reads the struck image."""

    def __init__(self, flag: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flag = Path(flag)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == STRUCK and on_a_worker():
            self.strike()
        return super().__getitem__(index)

    def strike(self) -> None:
        raise NotImplementedError


class FillsItsDisk(_Struck):
    """While the flag is there, what its shard writes past 64 bytes of a file is refused."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if on_a_worker():
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


class DeletesTheStore(_Struck):
    """The store, which the flag names, is gone when the struck image is read."""

    def strike(self) -> None:
        shutil.rmtree(self.flag, ignore_errors=True)


class ReplacesTheStore(_Struck):
    """The store, which the flag names, is another one each time the struck image is read."""

    def strike(self) -> None:
        # Made aside and put in place in one step: other threads read the store meanwhile.
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(self.flag / "zarr.json", folder)
            zarr.open_group(store=folder, mode="r+").attrs["created"] = str(time.time_ns())
            set_root_mark(Path(folder))
            write_whole(self.flag / "zarr.json", Path(folder, "zarr.json").read_text())


class OtherOnWorkers(Noise):
    """Other images in workers than in the flow."""

    def __init__(self) -> None:
        super().__init__(seed=1 if on_a_worker() else 0)


class Waits(_Struck):
    """The struck image is read only once the flag is there; ``FLAG.reached`` says it is waited."""

    def strike(self) -> None:
        self.flag.with_suffix(".reached").touch()
        while not self.flag.exists():
            time.sleep(0.02)


class OverflowsOnce(TinyNetwork):
    """While the flag is there, sums over the struck image are infinite."""

    def __init__(self, flag: str) -> None:
        super().__init__()
        self.flag = Path(flag)
        self.struck = Noise().images[STRUCK]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        if self.flag.exists():
            greater = [3e38 if torch.equal(x.cpu(), self.struck) else 1.0 for x in images]
            images = images * torch.tensor(greater)[:, None, None, None]
        return super().forward(images)


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
