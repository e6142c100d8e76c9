"""What a shard costs beside a bare loop over the same images, part by part.

    python -m benchmarks.pass_parts --data FOLDER [--only NAME ...] [--images N] [--turns N]

FOLDER holds ``imagenet-sample``, ``cifar10/test`` and ``models``. Everything runs in this process,
with ``--threads`` threads of torch (1), in turns, forwards and backwards, so that a machine that
drifts does so for all, and keeps its memory as the flow's workers do. What is given is the
processor time of all threads, the median of the turns, and the median of the ratios within a turn.

The loops are what a person would write: ``inference_mode``, float32 input tensors that lie ready in
memory, the same batch. One keeps torch's own layout of memory; the other has channels last, as runs
have where the network gives the same with it. Each of the next lines adds a part of what a shard
does: hooks on the linear modules; the mean of every layer's output; the signals, which are the
means times the singular vectors; a whole shard of a run, from pictures in memory (digests,
standardising, writing the cube) and from picture files (decoding). Then what some parts cost by
themselves, and the pass whose BatchNorms are folded (``extraction: fast``).

Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torchvision.datasets import CIFAR10, ImageFolder

from benchmarks.throughput import CASES, model_of
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.networks import decomposition
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.linear_calls import LinearCalls, ModuleCalls
from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import Prepared, prepare
from ddp_tasks.signals.signals import extract
from ddp_tasks.store import creation, groups, shards
from ddp_tasks.store.identity import Identity
from ddp_tasks.weights.tensor_svd import Spectrum, TensorSVD
from ddp_tasks.workers.signals import fill_shard
from ddp_tasks.workers.stored_run import StoredRun
from flows.worker_processes import ALLOCATION
from schemas.names import group_path
from schemas.parameters import RunParameters
from schemas.recording import stored_identity

RESULTS = Path(__file__).with_name("RESULTS.md")
HERE = Path(__file__).resolve()

CONTIGUOUS, LAST = "loop, contiguous", "loop, channels last"
WHOLE = "shard, from pictures in memory"
#: Images of a shard, and the share of the loop with channels last that is asked for.
ASKED = {"VGG-16": (8, 0.95), "ResNet-18": (64, 0.95), "ResNet-20": (512, 0.85)}
FOLDERS = {"imagenet": "imagenet-sample", "cifar10": "cifar10/test"}
WEIGHTS = {"ResNet-20": "cifar10_resnet20.pt"}


class InMemory(CIFAR10):
    """Decoded pictures of any size, indexed as torchvision's sets in memory are."""

    def __init__(self, file: str) -> None:
        self.data = np.load(file)
        self.targets = [i % 10 for i in range(len(self.data))]
        self.transform = self.target_transform = None
        self.classes = [str(i) for i in range(10)]


@dataclass(frozen=True)
class Part:
    """Something to be measured."""

    work: Callable[[], Any]
    before: Callable[[], Any] = lambda: None
    """is done first, and not measured"""
    of_loop: bool = True
    """whether it does all that the loops do"""


@dataclass(frozen=True)
class OpenRun:
    """A run whose store has a shard to be written, and a last one of a single image."""

    run: RunParameters
    path: Path
    prepared: Prepared

    def part(self) -> Part:
        """Writing the first shard, with network and images opened, which a worker does once."""
        first, *_, last = shards.shards(self.path)
        fill = partial(fill_shard, StoredRun.of(self.path, self.run))
        return Part(partial(fill, first), before=partial(fill, last))

    def vectors(self) -> dict[str, Tensor]:
        """The left singular vectors of every layer, from the store."""
        return {
            layer.name: torch.from_numpy(
                groups.read(self.path, group_path("decomposition", layer.name))["U"].to_numpy()
            )
            for layer in self.prepared.layers.linear
        }

    def read(self) -> None:
        """Read the images of the first shard as a worker does."""
        shard, batch = shards.shards(self.path)[0], self.run.shards.batch_size
        images, cpu = self.prepared.images, torch.device("cpu")
        chosen = range(shard.start, shard.stop)
        for _ in read_ahead(images, chosen, batch, cpu, {}, contents={}):
            pass

    def writing(self) -> Callable[[], None]:
        """Writing rows as the first shard's, which are those that it has."""
        shard = shards.shards(self.path)[0]
        stored = xr.open_zarr(self.path / "signals", consolidated=False)
        images = slice(shard.start, shard.stop)
        rows = {name: stored[name][images].to_numpy() for name in ("signal", *shards.OF_IMAGES)}
        return partial(shards.write_shard, self.path, shard, rows)


class Workbench:
    """A network with the stores of runs over the same images.

    Their singular vectors are random: what is measured costs the same with any.
    """

    def __init__(self, name: str, data: Path, folder: Path, images: int) -> None:
        self.case, self._data, self._folder, self._images = CASES[name], data, folder, images
        self._model = model_of(self.case, folder)
        weights = data / "models" / WEIGHTS.get(name, "")
        if weights.is_file():
            self._model["weights"] = str(weights)

    def files(self) -> Path:
        """A folder of as many picture files, in folders of classes: links to those of the data."""
        tree = ImageFolder(str(self._data / FOLDERS[self.case.images]))
        order = np.random.default_rng(0).permutation(len(tree))
        folder = self._folder / "files"
        for place in range(self._images + 1):
            source, target = tree.samples[order[place % len(tree)]]
            link = folder / f"{target % 10}" / f"{place:06}{Path(source).suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
        return folder

    def opened(self, images: dict[str, Any], **changes: Any) -> OpenRun:
        """A run with its store, made in this process."""
        run = RunParameters.model_validate(
            {
                "name": "pass_parts",
                "model": self._model,
                "images": images,
                "shards": {"batch_size": self.case.batch, "images": self._images},
                "right_singular_vectors": "never",
                **changes,
            }
        )
        prepared = prepare(run)
        layers = prepared.layers.linear
        identity = Identity.of_run(run, model_digest(prepared.model), prepared.images.digest())
        path = Path(tempfile.mkdtemp(dir=self._folder)) / "store.zarr"
        begun = creation.begin(path)
        spectra = {layer.name: self._vectors(begun, layer) for layer in layers}
        of_layers = decomposition.layers_dataset(layers, spectra)
        coordinates = decomposition.layer_coordinates(layers, of_layers.sizes["singular_vector"])
        creation.create(
            path,
            run,
            replace(identity, parameters=stored_identity(run), weights=""),
            not_analysed={},
            groups={"layers": of_layers},
            signals=prepared.images.described().assign_coords(coordinates),
        )
        return OpenRun(run, path, prepared)

    def _vectors(self, path: Path, layer: LinearLayer) -> Spectrum:
        """Write a layer's group, of vectors in place of the singular ones."""
        d, rank = layer.shape[0], layer.greatest_rank
        U = torch.randn(d, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        svd = TensorSVD(
            U / d**0.5,
            torch.linspace(1, 0.1, rank, dtype=torch.float64),
            None,
            torch.zeros(rank).long(),
        )
        dataset = decomposition.decomposition_dataset(svd, "never")
        dataset = dataset.assign_attrs(layer=layer.name, batch_norm="")
        groups.write(path, group_path("decomposition", layer.name), dataset)
        return svd.spectrum

    def in_memory(self, of_files: OpenRun) -> dict[str, Any]:
        """The same images, decoded, as a run file's section ``images``."""
        pictures = of_files.prepared.images.read(0, self._images + 1)
        file = self._folder / "decoded.npy"
        np.save(file, torch.stack([p for p in pictures if isinstance(p, Tensor)]).movedim(1, 3))
        return {
            "factory": f"{HERE}:InMemory",
            "kwargs": {"file": str(file)},
            "transform": {"mean": self.case.mean, "std": self.case.std},
        }


def loop(model: nn.Module, inputs: Tensor, batch: int) -> None:
    """The bare loop."""
    with torch.inference_mode():
        for some in inputs.split(batch):
            model(some)


def listened(
    calls: LinearCalls | ModuleCalls, model: nn.Module, inputs: Tensor, batch: int
) -> None:
    """The loop while something listens that does nothing with what it hears."""
    with calls.hook(), torch.inference_mode():
        for some in inputs.split(batch):
            with calls:
                model(some)


def means(forward: ForwardPass, inputs: Tensor, batch: int) -> None:
    """The loop that reads every layer's mean."""
    with forward.reading() as read:
        for some in inputs.split(batch):
            read(some)


def parts(bench: Workbench, images: int) -> dict[str, Part]:
    """What is measured."""
    case = bench.case
    transform: dict[str, Any] = {"mean": case.mean, "std": case.std}
    if case.images == "imagenet":
        transform |= {"resize": 232, "crop": 224}
    of_files = bench.opened(
        {
            "factory": "torchvision.datasets:ImageFolder",
            "kwargs": {"root": str(bench.files())},
            "transform": transform,
        }
    )
    memory = bench.in_memory(of_files)
    of_memory = bench.opened(memory)
    fast = bench.opened(memory, extraction={"fast": True})
    layers = of_memory.prepared.layers
    inputs = of_memory.prepared.images.batch(0, images).contiguous()
    last = inputs.contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(of_memory.prepared.model).to(memory_format=torch.contiguous_format)
    network = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    vectors = of_memory.vectors()
    forward = ForwardPass(network, layers.linear, vectors, convention=layers.convention)
    modules = ModuleCalls(network, [one.module for one in layers.linear], lambda call: None)
    mode = LinearCalls(network, lambda call: None)
    of_memory.part().work()
    return {
        CONTIGUOUS: Part(partial(loop, plain, inputs, case.batch)),
        LAST: Part(partial(loop, network, last, case.batch)),
        "+ hooks on linear modules": Part(partial(listened, modules, network, last, case.batch)),
        "+ means": Part(partial(means, forward, last, case.batch)),
        "+ signals": Part(lambda: extract(forward, last.split(case.batch))),
        WHOLE: of_memory.part(),
        "shard, from picture files": of_files.part(),
        "shard, from memory, fast": fast.part(),
        "function mode, which other networks need": Part(
            partial(listened, mode, network, last, case.batch)
        ),
        "reading from memory": Part(of_memory.read, of_loop=False),
        "reading from files": Part(of_files.read, of_loop=False),
        "writing": Part(of_memory.writing(), of_loop=False),
    }


def measured(every: dict[str, Part], turns: int) -> dict[str, list[float]]:
    """Seconds of processor time of each part in each turn, after a first that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in every}
    for turn in range(turns + 1):
        for name in list(every)[:: 1 if turn % 2 else -1]:
            every[name].before()
            start = time.process_time()
            every[name].work()
            if turn:
                taken[name].append(time.process_time() - start)
    return taken


def share(of: list[float], taken: list[float]) -> float:
    """The median over turns of what a loop takes over what a part takes beside it."""
    return median(loop / part for loop, part in zip(of, taken, strict=True))


def lines_of(name: str, data: Path, images: int, turns: int) -> list[str]:
    """A network's table."""
    least = ASKED[name][1]
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(name, data, Path(folder), images)
        every = parts(bench, images)
        seconds = measured(every, turns)
    lines = [
        "",
        f"### {name}, {images} images in batches of {bench.case.batch}",
        "",
        f"| | ms an image | of {CONTIGUOUS} | of {LAST} |",
        "| --- | ---: | ---: | ---: |",
    ]
    for part, taken in seconds.items():
        shares = (f"{share(seconds[of], taken):.3f}" for of in (CONTIGUOUS, LAST))
        cells = list(shares) if every[part].of_loop else ["", ""]
        if part == WHOLE:
            cells[1] += f" (asked {least:.2f})"
        lines.append(f"| {part} | {1e3 * median(taken) / images:.3f} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--only", nargs="*", choices=list(ASKED), default=list(ASKED))
    parser.add_argument("--images", type=int, help="of a shard, in place of each network's own")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keeping_memory = {name: str(value) for name, value in ALLOCATION.items()}
    if not keeping_memory.items() <= os.environ.items():
        # The system's library reads them where a process starts.
        command = [sys.executable, "-m", "benchmarks.pass_parts", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **keeping_memory})
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("torch", "zarr"))
    lines = [
        f"\n## Parts of the pass, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.pass_parts --data FOLDER`: {platform.machine()}, {versions}, torch "
        f"on {asked.threads} of {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}; processor "
        f"time, medians of {asked.turns} turns; shares are the loop's time over the line's.",
    ]
    for name in asked.only:
        images = asked.images or ASKED[name][0]
        table = lines_of(name, asked.data.expanduser(), images, asked.turns)
        print("\n".join(table), flush=True)
        lines += table
    with RESULTS.open("a") as results:
        results.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
