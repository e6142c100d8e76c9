"""Optimised images beside torch-lucent and horama: seconds for one image.

    python -m benchmarks.visualization_speed --data FOLDER [--rounds 5] [--threads 1]

FOLDER holds ``models/cifar10_resnet56.pt``. The others come with the extra ``bench``. All take the
same network, layer, singular vectors, number of steps, size of the image and threads, in one
process: in each round ours, Lucent, and horama's Fourier and MACO take turns. Lucent and horama
make one image at a time, for the mean signal of the same vector, which a hook reads. Lucent's
transformations are those that we use. Horama crops each image twice in a step, the fewest that it
takes; its default is six. The magnitudes that its MACO downloads are replaced by ones of the same
shape.

Appends to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.validation import RESULTS
from ddp_tasks.networks import CifarResNet
from ddp_tasks.networks.checkpoint_files import read_checkpoint
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.visualization.feature_visualization import (
    Settings,
    Visualized,
    batch_size,
    optimised,
)
from ddp_tasks.visualization.pixels import PixelSpace
from ddp_tasks.visualization.targets import Target
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import TransformParameters

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TRANSFORM = TransformParameters(mean=MEAN, std=STD)
#: Steps of the others' images in a round; all times are of this many steps.
STEPS = 32


@dataclass(frozen=True)
class Case:
    """A layer of a network, and the size of its images."""

    name: str
    model: nn.Module
    layer: str
    side: int


def cases(data: Path) -> Iterator[Case]:
    """The layers that are compared."""
    resnet = CifarResNet(56).eval()
    resnet.load_state_dict(read_checkpoint(data / "models" / "cifar10_resnet56.pt"))
    yield Case("ResNet-56, first stage", resnet, "layer1.4.conv2", 32)
    yield Case("ResNet-56, last stage", resnet, "layer3.8.conv2", 32)
    from ddp_tasks.networks import efficientnet_lite

    lite = efficientnet_lite(0).eval()
    names = [name for name, module in lite.named_modules() if isinstance(module, nn.Conv2d)]
    yield Case("EfficientNet-Lite0, middle", lite, names[len(names) // 2], 224)


def ours(visualized: Visualized, images: int) -> None:
    """Images of the first singular vectors, in batches."""
    settings = Settings.for_size(visualized.pixels.height, visualized.pixels.width, STEPS)
    targets = [Target((i % visualized.U.shape[1],)) for i in range(images)]
    optimised(visualized, targets, list(range(images)), settings)


def lucent(case: Case, u: Tensor, settings: Settings) -> None:
    """One image, as Lucent makes it."""
    from lucent.optvis import param, render, transform

    shift = round(settings.extents.shift)
    scales = [1 + settings.extents.scale * (i - 5) / 5 for i in range(11)]
    angle = round(settings.extents.rotation)
    transforms = [
        transform.jitter(2 * shift + 1),
        transform.random_scale(scales),
        transform.random_rotate(list(range(-angle, angle + 1))),
        transform.normalize(),
    ]
    render.render_vis(
        case.model,
        lambda outputs: -(outputs(case.layer.replace(".", "_")).mean(dim=(2, 3)) @ u).sum(),
        lambda: param.image(case.side),
        transforms=transforms,
        thresholds=(STEPS,),
        preprocess=False,
        progress=False,
        show_image=False,
        fixed_image_size=case.side,
    )


def horama(method: str, case: Case, u: Tensor) -> None:
    """One image, as horama makes it."""
    import horama

    signal: list[Tensor] = []
    module = case.model.get_submodule(case.layer)
    hook = module.register_forward_hook(
        lambda _, __, output: signal.append((output.mean(dim=(2, 3)) @ u).mean())
    )

    def objective(images: Tensor) -> Tensor:
        signal.clear()
        case.model(images)
        return signal[0]

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            getattr(horama, method)(
                objective,
                total_steps=STEPS,
                image_size=case.side,
                model_input_size=case.side,
                crops_per_iteration=2,
                device="cpu",
            )
    finally:
        hook.remove()


def prepared(case: Case) -> Visualized:
    """A layer of a case, with random pictures in place of natural ones."""
    inputs = torch.randn(8, 3, case.side, case.side, generator=torch.Generator().manual_seed(0))
    layers = trace_layers(case.model, inputs[:2])
    layer: LinearLayer = next(one for one in layers.linear if one.name == case.layer)
    weight: Tensor = case.model.get_submodule(case.layer).weight  # type: ignore[assignment]
    svd = decompose(weight.detach().flatten(1), layer.groups)
    pixels = PixelSpace.of(inputs, TRANSFORM)
    mean = torch.zeros(svd.U.shape[1], dtype=torch.float64)
    return Visualized(
        layers.convention.laid_out(case.model), layers.convention, layer, svd.U, mean, pixels
    )


def seconds(work: Callable[[], None]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compared(case: Case, rounds: int) -> list[str]:
    """Rows of the table: seconds for an image, and how many times ours theirs take."""
    visualized = prepared(case)
    settings = Settings.for_size(case.side, case.side, STEPS)
    u = visualized.U[:, 0].float()
    images = batch_size(torch.device("cpu"), case.side, case.side)
    methods: dict[str, tuple[Callable[[], None], int]] = {
        "ours": (lambda: ours(visualized, images), images),
        "torch-lucent": (lambda: lucent(case, u, settings), 1),
        "horama, Fourier": (lambda: horama("fourier", case, u), 1),
        "horama, MACO": (lambda: horama("maco", case, u), 1),
    }
    for work, _ in methods.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, (work, made) in methods.items():
            taken[name].append(seconds(work) / made)
    rows = []
    for name, times in taken.items():
        ratios = [theirs / own for theirs, own in zip(times, taken["ours"], strict=True)]
        rows.append(
            f"| {case.name}, `{case.layer}` | {name} | {statistics.median(times):.3f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Compare, print and append to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # What horama's MACO downloads: magnitudes of a spectrum.
        np.save("spectrum_decorrelated.npy", np.ones((3, 224, 113), dtype=np.float32))
        for case in cases(arguments.data.expanduser()):
            rows += compared(case, arguments.rounds)
    with RESULTS.open("a") as results:
        results.write(
            f"\n## Optimised images beside torch-lucent and horama\n\n"
            f"`python -m benchmarks.visualization_speed --data FOLDER --rounds {arguments.rounds} "
            f"--threads {arguments.threads}`, {datetime.date.today()}, {platform.machine()}, "
            f"{os.cpu_count()} cores, load {load:.1f} before. Seconds for {STEPS} steps of one "
            "image; how many times ours the others take: the median of the rounds' ratios, and "
            "their range.\n\n"
            "| layer | method | s an image | times ours | range |\n"
            "| --- | --- | ---: | ---: | --- |\n" + "\n".join(rows) + "\n"
        )


if __name__ == "__main__":
    main()
