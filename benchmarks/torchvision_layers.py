"""The linear layers of every classifier of torchvision, as a table in docs/torchvision.md.

    python -m benchmarks.torchvision_layers [MODEL ...] [--out docs/torchvision.md]

Each model is built with random weights, traced with one image, and run once over two images with
every layer's mean read. Models are taken one after another, and freed.
"""

from __future__ import annotations

import argparse
import gc
import platform
import resource
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import Layers, LinearLayer, unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.weights.tensor_svd import decompose

#: Tried in this order.
SIZES = (32, 64, 96, 128, 224)
#: Entries of an unfolded weight up to which its U is computed for the signal pass.
DECOMPOSED = 2**12
OUT = Path(__file__).parents[1] / "docs" / "torchvision.md"

HEADER = """# Linear layers of torchvision's classifiers

Every classifier that `torchvision.models.list_models(module=torchvision.models)` lists and that
takes an image, with random weights ({versions}).
Made by `python -m benchmarks.torchvision_layers` in {minutes:.1f} minutes at a peak of
{memory:.1f} GB of memory ({machine}; other work on the machine counts in the minutes).

What was run for each model: the layers were traced with one image; every layer's unfolded weight
was taken from the network; then **one real forward pass** of two images, of the smallest of
{sizes} pixels that the model takes, read the mean of every layer's output less
its bias and gave its signals. This shows that every layer is found and read, not that every
layer's decomposition was computed: the signals are along the left singular vectors of `decompose`
where the unfolded weight has at most {decomposed} entries (column *U computed*, layers), and for
the wider ones the channel means themselves (U = identity). *yes* in the last column means that all
signals of all layers were finite for both images.

*Layers* counts each use of a weight. *Greatest rank* is the greatest that a layer's unfolded weight
can have, from its shape. What is not analysed is counted by reason: **norm** normalisations (one
weight a channel), **unused** modules and parameters that the forward pass in evaluation mode never
reaches (the auxiliary heads of googlenet and inception_v3), **parameter** parameters of the
network that are not the weight of a convolution or a fully connected layer (class tokens, position
embeddings, layer scales, tables of relative position bias), **constant** fully connected layers
whose input is the same for every image (the position bias networks of swin_v2).

{total} models: {worked} gave signals in every layer; {layers} layers in all.

| model | image size | layers | U computed | greatest rank | not analysed | signals |
| --- | ---: | ---: | ---: | ---: | --- | --- |
"""


@dataclass(frozen=True)
class Row:
    """What was found of one model."""

    model: str
    size: int
    layers: int
    decomposed: int
    greatest_rank: int
    left_out: Counter[str]
    signals: str

    def line(self) -> str:
        """The row of the table."""
        left_out = ", ".join(f"{n} {what}" for what, n in sorted(self.left_out.items())) or "-"
        return (
            f"| {self.model} | {self.size} | {self.layers} | {self.decomposed} | "
            f"{self.greatest_rank} | {left_out} | {self.signals} |"
        )


def built(name: str) -> nn.Module:
    """A classifier with random weights; those that draw them slowly leave torch's first ones."""
    slow = name.startswith(("googlenet", "inception", "vgg"))
    options = {"init_weights": False} if slow else {}
    return torchvision.models.get_model(name, weights=None, **options).eval()


def traced(model: nn.Module) -> tuple[int, Layers]:
    """The smallest size of images that a model takes, and its layers."""
    for size in SIZES:
        try:
            return size, trace_layers(model, torch.rand(1, 3, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            last = error
    raise RuntimeError(f"takes no image of {SIZES} pixels") from last


def left_singular_vectors(model: nn.Module, layer: LinearLayer) -> Tensor | None:
    """U of a layer whose decomposition is quick; None otherwise."""
    W = unfolded_weight(model, layer).detach()
    if W.shape != layer.unfolded_shape:
        raise RuntimeError(f"layer {layer.name}: unfolded weight {tuple(W.shape)}")
    if W.numel() > DECOMPOSED or not W.any():
        return None
    return decompose(W, layer.groups).U


@lru_cache(maxsize=8)
def identity(d: int) -> Tensor:
    """One matrix for all layers of d output channels."""
    return torch.eye(d, dtype=torch.float64)


def analysed(name: str) -> Row:
    """Build a model, trace it and run two images through it."""
    torch.manual_seed(0)
    model = built(name).requires_grad_(False)
    size, found = traced(model)
    U: dict[str, Tensor] = {}
    decomposed = 0
    for layer in found.linear:
        vectors = left_singular_vectors(model, layer)
        decomposed += vectors is not None
        U[layer.name] = identity(layer.shape[0]) if vectors is None else vectors
    signal = extract(ForwardPass(model, found.linear, U), [torch.rand(2, 3, size, size)]).signal
    finite = all(
        np.isfinite(signal[:, i, : U[layer.name].shape[1]]).all()
        for i, layer in enumerate(found.linear)
    )
    return Row(
        name,
        size,
        len(found.linear),
        decomposed,
        max(layer.greatest_rank for layer in found.linear),
        Counter(map(_class_of_reason, found.not_analysed.values())),
        "yes" if finite else "not finite",
    )


def _class_of_reason(reason: str) -> str:
    if "never calls" in reason or "never uses" in reason:
        return "unused"
    if "scales each channel" in reason:
        return "norm"
    if reason.startswith("parameter of"):
        return "parameter"
    return "constant" if "the same for all" in reason else reason


def main() -> None:
    """Make the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    # Two small images leave nothing to share out; waiting for other threads costs more.
    torch.set_num_threads(1)
    names = given.models or torchvision.models.list_models(module=torchvision.models)
    began = time.perf_counter()
    rows = []
    for number, name in enumerate(names, start=1):
        started = time.perf_counter()
        try:
            row = analysed(name)
        except Exception as error:  # noqa: BLE001 - one model's failure is a row of the table
            row = Row(name, 0, 0, 0, 0, Counter(), f"no: {type(error).__name__}: {error}")
        rows.append(row)
        gc.collect()
        took = time.perf_counter() - started
        print(f"[{number}/{len(names)}] {took:5.1f} s {row.line()}", flush=True)
    header = HEADER.format(
        versions=f"torch {torch.__version__}, torchvision {torchvision.__version__}",
        minutes=(time.perf_counter() - began) / 60,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        machine=f"{torch.get_num_threads()} thread, {platform.machine()}",
        sizes=", ".join(map(str, SIZES)),
        decomposed=DECOMPOSED,
        total=len(rows),
        worked=sum(row.signals == "yes" for row in rows),
        layers=sum(row.layers for row in rows),
    )
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(header + "\n".join(row.line() for row in rows) + "\n")
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
