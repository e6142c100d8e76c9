"""What ``benchmarks.gpu`` measures throughput on: networks with so many images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, ImageFolder

from schemas.parameters import RunParameters
from schemas.run_files import check, load_run

HERE = Path(__file__).resolve()
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class InMemory(CIFAR10):
    """CIFAR-10's test pictures in memory, over and over up to a number."""

    def __init__(self, file: str, count: int) -> None:
        pixels = np.load(file)
        self.data = pixels[np.arange(count) % len(pixels)]
        self.targets = [i % 10 for i in range(count)]
        self.transform = self.target_transform = None
        self.classes = [str(i) for i in range(10)]


class Files(ImageFolder):
    """Picture files in folders of classes, over and over up to a number."""

    def __init__(self, root: str, count: int) -> None:
        super().__init__(root)
        order = np.random.default_rng(0).permutation(len(self.samples))
        self.samples = [self.samples[order[i % len(order)]] for i in range(count)]
        self.imgs, self.targets = self.samples, [target for _, target in self.samples]


@dataclass(frozen=True)
class Case:
    """A network with images to measure the throughput on."""

    model: dict[str, Any]
    images: dict[str, Any]
    """without the number of images."""
    many: int
    batch: int
    decoding: tuple[str, ...] = ("cpu",)

    def run(self, count: int, weights: Path, **changes: Any) -> RunParameters:
        """A run over so many images."""
        images = {**self.images, "kwargs": {**self.images["kwargs"], "count": count}}
        content = {
            "name": "gpu",
            "model": {"weights": str(weights), **self.model},
            "images": images,
            "shards": {"batch_size": self.batch},
            "right_singular_vectors": "never",
            **changes,
        }
        return check(RunParameters, content, "gpu")


def cases(data: Path, folder: Path) -> dict[str, Case]:
    """What throughput is measured on; networks without trained weights have random ones."""
    trained = data / "models" / "cifar10_resnet56.pt"
    in_memory = {"factory": f"{HERE}:InMemory", "transform": IMAGENET}
    grey = {"mean": [0.5], "std": [0.5]}
    lite = load_run("imagenet-efficientnet-lite").images.transform
    assert lite is not None
    return {
        "digits": Case(
            {"factory": "ddp_tasks.networks:PaperNetwork"},
            {
                "factory": f"{HERE}:InMemory",
                "kwargs": {"file": str(folder / "digits.npy")},
                "transform": grey,
            },
            200_000,
            256,
        ),
        "cifar10": Case(
            {
                "factory": "ddp_tasks.networks:CifarResNet",
                "kwargs": {"depth": 56},
                **({"weights": str(trained)} if trained.is_file() else {}),
            },
            {**in_memory, "kwargs": {"file": str(folder / "cifar10.npy")}},
            200_000,
            512,
        ),
        "efficientnet": Case(
            {
                "factory": "ddp_tasks.networks:efficientnet_lite",
                "kwargs": {"variant": 0},
                "weights": None,
            },
            {
                "factory": f"{HERE}:Files",
                "kwargs": {"root": str(data / "imagenet-sample")},
                "transform": lite.model_dump(),
            },
            20_000,
            256,
            ("cpu", "gpu"),
        ),
    }


def keep_pictures(name: str, data: Path, folder: Path) -> None:
    """Decode the pictures of a case that has them in memory, (n, m, n, c) uint8."""
    if name == "digits":
        from sklearn.datasets import load_digits

        small = (load_digits().images * 15.9375).astype(np.uint8)
        pictures = [np.asarray(Image.fromarray(one).resize((28, 28))) for one in small]
        np.save(folder / "digits.npy", np.stack(pictures)[..., None])
    elif name == "cifar10":
        tree = ImageFolder(str(data / "cifar10" / "test"))
        np.save(folder / "cifar10.npy", np.stack([np.asarray(picture) for picture, _ in tree]))


def weights_of(case: Case, folder: Path) -> Path:
    """Random weights of a case's network, the same in every process."""
    from ddp_tasks.callables import factories

    kept = folder / f"{case.model['factory'].rpartition(':')[2]}.pt"
    if not kept.exists():
        torch.manual_seed(0)
        made = factories.call(case.model["factory"], case.model.get("kwargs", {}))
        torch.save(made.state_dict(), kept)
    return kept
