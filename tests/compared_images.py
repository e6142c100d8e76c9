"""Image sets that share ids, bytes or classes with ``runs.Noise``, and differ in the rest."""

from __future__ import annotations

from pathlib import Path

from runs import Noise


class Brighter(Noise):
    """Other images under the same ids."""

    def __init__(self) -> None:
        super().__init__()
        self.images += 1


class Renamed(Noise):
    """The same images with another name of one class."""

    classes = ("left", "right", "each")


class Relabelled(Noise):
    """The same images, two of which are of other classes."""

    def __init__(self) -> None:
        super().__init__()
        self.targets[0], self.targets[1] = self.targets[1], self.targets[0]


class Named(Noise):
    """The same images under ids of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = [(str(Path("noise") / f"{i}.png"), t) for i, t in enumerate(self.targets)]


class InFolders(Noise):
    """The same images in folders of ImageNet, those of a dog and of a bird in turn."""

    def __init__(self, images: int = 30) -> None:
        super().__init__(images)
        folders = ("n02085620", "n01514668")
        self.samples = [(f"{folders[i // 3 % 2]}/{i}.png", t) for i, t in enumerate(self.targets)]
