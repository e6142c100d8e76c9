"""Image sets, networks and clusters that break: in each method, in every way that code ends.

Each is the image set ``Noise`` or the network ``TinyNetwork`` of ``runs`` but for the place that
its arguments name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from runs import Noise, TinyNetwork
from torch import Tensor


class _Mute(Exception):  # noqa: N818 - what people call theirs
    def __str__(self) -> str:
        raise RuntimeError("it does not even say what it is")


class _Ending(BaseException):
    """What no ``except Exception`` sees."""


def _raise(error: BaseException) -> Callable[[], None]:
    def strike() -> None:
        raise error

    return strike


def _recurse() -> None:
    _recurse()


WAYS: dict[str, Callable[[], None]] = {
    "an error": _raise(ValueError("the labels are on another disk")),
    "a key": _raise(KeyError("PATH_TO_DATA")),
    "an environment variable": lambda: os.environ["DDP_NO_SUCH_VARIABLE"] and None,
    "nothing said": _raise(Exception()),
    "many lines": _raise(RuntimeError("\n".join(f"line {i} of many" for i in range(500)))),
    "a long line": _raise(RuntimeError("x" * 100_000)),
    "terminal escapes": _raise(RuntimeError("\x1b[2J\x1b[31mred\x1b]0;title\x07\u202eabc")),
    "half a character": _raise(RuntimeError("\ud800")),
    "an error that cannot be shown": _raise(_Mute()),
    "exit": sys.exit,
    "exit 0": lambda: sys.exit(0),
    "exit with words": lambda: sys.exit("usage: train.py --data DIR"),
    "interrupt": _raise(KeyboardInterrupt()),
    "another ending": _raise(_Ending("over")),
    "generator's end": _raise(GeneratorExit()),
    "iteration's end": _raise(StopIteration()),
    "recursion": _recurse,
    "memory": lambda: bytearray(2**60) and None,
    "assertion": _raise(AssertionError()),
}


class Breaking(Noise):
    """Noise that breaks in one of its methods."""

    def __init__(self, at: str, way: str = "an error", image: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at, self.way, self.image = at, way, image
        self._strike("made")

    def _strike(self, at: str) -> None:
        if at == self.at:
            WAYS[self.way]()

    def __len__(self) -> int:
        self._strike("length")
        return super().__len__()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self.image:
            self._strike("item")
        return super().__getitem__(index)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Asked for by whoever looks for names of classes."""
        self._strike("names")
        return {name: i for i, name in enumerate(self.classes)}


class BreakingNetwork(TinyNetwork):
    """A network that breaks in one of its methods."""

    def __init__(self, at: str, way: str = "an error") -> None:
        super().__init__()
        self.at, self.way = at, way
        self._strike("made")

    def _strike(self, at: str) -> None:
        if at == getattr(self, "at", None):
            WAYS[self.way]()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        self._strike("pass")
        return super().forward(images)

    def train(self, mode: bool = True) -> BreakingNetwork:
        """Called to evaluate too."""
        self._strike("mode")
        return super().train(mode)


class BreakingTraining(TinyNetwork):
    """A network that takes images, but not while it is trained."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        if self.training:
            raise RuntimeError("no such operation")
        return super().forward(images)


class Lengths(Noise):
    """Noise of a length that it does not have."""

    def __init__(self, length: Any) -> None:
        super().__init__()
        self.length = length

    def __len__(self) -> int:
        return self.length


class LabelsAs(Noise):
    """Noise with a label of another form for one image, or for all."""

    LABELS: ClassVar[dict[str, Callable[[int], Any]]] = {
        "negative": lambda _: -1,
        "huge": lambda _: 10**9,
        "past 64 bits": lambda _: 10**30,
        "NaN": lambda _: float("nan"),
        "infinite": lambda _: float("inf"),
        "half": lambda _: 0.5,
        "none": lambda _: None,
        "several": lambda _: [1, 1],
        "ragged": lambda i: [0] * (i % 3 + 1),
        "nested": lambda _: [[[1, 0], [0, 1]]],
        "empty": lambda _: [],
        "complex": lambda _: 1j,
        "object": lambda _: object(),
        "function": lambda _: len,
        "dictionary": lambda _: {"label": 0},
        "tensor of many": lambda _: torch.arange(5),
        "NaN array": lambda _: np.array([np.nan]),
        "half a character": lambda i: ["\ud800", "b", "c"][i % 3],
        "strings of numbers": lambda i: str(i % 3),
        "one-element": lambda i: torch.tensor([i % 3]),
        "truth values": lambda i: bool(i % 2),
    }

    def __init__(self, form: str, only: int | None = None) -> None:
        super().__init__()
        self.form, self.only = form, only

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, target = super().__getitem__(index)
        other = self.only is None or index == self.only
        return image, self.LABELS[self.form](index) if other else target


class ItemsAs(Noise):
    """Noise whose items are something else."""

    ITEMS: ClassVar[dict[str, Callable[[Tensor, int], Any]]] = {
        "none": lambda *_: None,
        "a picture alone": lambda image, _: image,
        "a number": lambda *_: 3,
        "an empty pair": lambda *_: (),
        "text": lambda *_: ("picture", 0),
        "no axis": lambda _, target: (torch.tensor(1.0), target),
        "nothing in it": lambda _, target: (torch.zeros(0, 8, 8), target),
        "whole numbers": lambda image, target: (image.long(), target),
        "complex": lambda image, target: (image.to(torch.complex64), target),
        "NaN": lambda image, target: (image * float("nan"), target),
        "a list": lambda image, target: (image.tolist(), target),
        "other sizes": lambda image, target: (image[:, : 8 - target], target),
        "a mapping": lambda image, target: {"x": image, "y": target},
        "sparse": lambda image, target: (image.to_sparse(), target),
        "on meta": lambda image, target: (image.to("meta"), target),
        "a gradient": lambda image, target: (image.requires_grad_(True), target),
        "three channels": lambda image, target: (torch.cat([image, image[:1]]), target),
    }

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def __getitem__(self, index: int) -> Any:
        return self.ITEMS[self.form](*super().__getitem__(index))


class Coloured(Noise):
    """Uint8 pictures of three channels, 8 × 8."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = super().__getitem__(index)
        three = torch.cat([image, image[:1]])
        return (three.clamp(0, 4) * 60).to(torch.uint8), target


class ColourNetwork(TinyNetwork):
    """The tiny network for three channels."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 3, 8, 8)."""
        return super().forward(images[:, :2])


class Numbered:
    """An image set with items but no length."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return Noise()[index]


class OutputAs(TinyNetwork):
    """A network whose output is something else than class scores."""

    OUTPUTS: ClassVar[dict[str, Callable[[Tensor], Any]]] = {
        "none": lambda _: None,
        "text": lambda _: "cat",
        "a number": lambda x: x.sum(),
        "one row": lambda x: x[:1],
        "no column": lambda x: x[:, :0],
        "NaN": lambda x: x * float("nan"),
        "classes": lambda x: x.argmax(1),
        "a list": lambda x: x.tolist(),
        "two": lambda x: {"a": x, "b": x},
        "a map": lambda x: x[:, :, None, None].expand(-1, -1, 4, 4),
        "complex": lambda x: x.to(torch.complex64),
        "random": lambda x: x + torch.randn(x.shape),
    }

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, images: Tensor) -> Any:
        """Of images of shape (n, 2, 8, 8)."""
        return self.OUTPUTS[self.form](super().forward(images))


def not_made(what: str = "none") -> Any:
    """A factory that gives no image set and no network."""
    return {
        "none": None,
        "number": 3,
        "text": "images",
        "class": Noise,
        "generator": ((torch.zeros(2, 8, 8), 0) for _ in range(3)),
        "dictionary": {0: (torch.zeros(2, 8, 8), 0)},
        "module": sys,
        "empty list": [],
        "list of lists": [[1, 2], [3, 4]],
    }[what]
