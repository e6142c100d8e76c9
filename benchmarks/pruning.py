"""How much accuracy ResNets keep with fewer singular vectors, by criterion, beside random ones.

    python -m benchmarks.pruning --data DIR     (a quarter of an hour on two cores)

Runs ResNet-20 and ResNet-56 on CIFAR-10's test images and prunes them as ``ddp prune`` does: by
singular value, by signal energy, and with random vectors; BatchNorms as trained and estimated again
on the half of the images that choose; accuracy on the other half. Appends the curves as tables to
benchmarks/RESULTS.md. DIR is that of benchmarks.validation.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.validation import RESULTS, cifar10, without_extras
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.prunable_network import open_prunable
from ddp_tasks.queries.pruning import Pruning, check_shares, prune, words

NETWORKS = ("resnet20", "resnet56")
PER_CLASS = 400


def section(name: str, found: Pruning) -> list[str]:
    """The networks pruned from one, side by side, as Markdown."""
    network = found.network
    lines = [
        f"### {name}",
        "",
        f"{found.original.parameters:,} parameters, {len(network.layers)} layers that may be "
        f"pruned, {found.images:,} images that judge.",
        "",
        "| criterion | asked | parameters | layers | BatchNorms | accuracy | interval | time |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- | ---: |",
    ]
    for row in found.table.to_dict("records"):
        lines.append(
            f"| {words(row['criterion'])} | {row['asked']:g} | {row['parameters']:,} "
            f"| {row['layers']} | {row['batch_norm']} | {row['accuracy']:.1%} "
            f"| {row['low']:.1%} to {row['high']:.1%} | {row['time_ratio']:.2f} |"
        )
    return [*lines, "", found.verdict(), ""]


def pruned(data: Path, name: str, per_class: int, shares: Sequence[float] | None) -> Pruning:
    """Run a network on so many images a class, and prune it."""
    from flows.pipeline import run_pipeline

    run = without_extras(cifar10(data, per_class, name))
    with tempfile.TemporaryDirectory() as folder:
        run_pipeline(run, Path(folder) / "out")
        place = [f"images.kwargs.root={data / 'cifar10' / 'test'}"]
        weights = [f"model.weights={run.model.weights}"]
        finished = open_finished(Path(folder) / "out", [*place, *weights], trust=True)
        network = open_prunable(finished)
        images = per_class * len(network.prepared.images.target_classes)
        return prune(network, check_shares(network, shares), most_images=images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the tables of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--shares", nargs="+", type=float, help="of the parameters to keep")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    lines = [
        f"## Networks pruned by singular vectors, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.pruning --data DIR`: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}; CIFAR-10's test images, {options.per_class:,} a class, half "
        "of them to choose and half to judge; 95 % intervals (Clopper and Pearson) of a network's "
        "table hold together, differences are paired by image. Time: of a forward pass over the "
        "original's.",
        "",
    ]
    for name in options.only:
        lines += section(name, pruned(data, name, options.per_class, options.shares))
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
