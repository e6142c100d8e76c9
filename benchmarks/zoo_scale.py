"""What the capacity metric of a list of 1,000 checkpoints costs, from a list of some tens.

    python -m benchmarks.zoo_scale [--models 8 32] [--list 1000]

ResNet-20s with random weights, each a checkpoint of its own, all four matrizations at 3 × 32 × 32.
The flow of ``ddp capacity`` analyses a short and a longer list on two local workers; the difference
is what one more checkpoint costs, by the clock and in seconds of processor of the flow. The store
of the longer list is then filled up to ``--list`` models with copies, and its table and page are
written. Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from prefect.testing.utilities import prefect_test_harness

from ddp_tasks.networks import CifarResNet
from ddp_tasks.stages import capacity
from flows.capacity import run_capacity
from schemas.names import group_path
from schemas.zoo import ZooParameters

RESULTS = Path(__file__).with_name("RESULTS.md")


def a_list(folder: Path, models: int, name: str = "zoo") -> ZooParameters:
    """A list of networks whose checkpoints are made where they are not there yet."""
    entries = []
    for i in range(models):
        file = folder / f"epoch-{i}.pt"
        if not file.exists():
            torch.manual_seed(i)
            torch.save(CifarResNet(depth=20).state_dict(), file)
        entries.append(
            {
                "name": f"epoch {i}",
                "family": "ResNet",
                "accuracy": 10 + 80 * i / models,
                "factory": "ddp_tasks.networks:CifarResNet",
                "kwargs": {"depth": 20},
                "weights": str(file),
            }
        )
    return ZooParameters.model_validate(
        {"name": name, "input_size": [3, 32, 32], "models": entries, "cluster": "local"}
    )


def timed(function: Callable[[], Any]) -> tuple[float, float, float]:
    """Seconds by the clock and of processor, and the MiB that this process grew."""
    memory = psutil.Process().memory_info().rss
    start, before = time.perf_counter(), time.process_time()
    function()
    seconds, spent = time.perf_counter() - start, time.process_time() - before
    return seconds, spent, (psutil.Process().memory_info().rss - memory) / 2**20


def filled_up(folder: Path, store: Path, models: int, of: int) -> ZooParameters:
    """The list of so many models, whose groups in the store are copies of those of the first."""
    groups = [store / group_path("capacity", f"epoch {i}") for i in range(models)]
    for i in range(of, models):
        shutil.copytree(groups[i % of], groups[i])
    (folder / "more").mkdir()
    one = a_list(folder, 1).models[0]
    every = [
        one.model_copy(update={"name": f"epoch {i}", "accuracy": 10 + 80 * i / models})
        for i in range(models)
    ]
    return a_list(folder, 1, "long").model_copy(update={"models": every})


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs=2, default=[8, 32])
    parser.add_argument("--list", type=int, default=1000, help="models of the long list")
    asked = parser.parse_args()
    short, long = asked.models
    with tempfile.TemporaryDirectory() as place, prefect_test_harness(server_startup_timeout=900):
        folder = Path(place)
        a_list(folder, long)
        # Imports, the server's start and the page's are in both.
        measured = {
            n: timed(lambda n=n: run_capacity(a_list(folder, n), folder / f"{n}"))
            for n in (short, long)
        }
        store = folder / f"{long}" / "capacity.zarr"
        files = [file.stat().st_size for file in store.rglob("*") if file.is_file()]
        of_each = f"{len(files) / long:.0f} files, {sum(files) / long / 1e3:.0f} kB"
        zoo = filled_up(folder, store, asked.list, long)
        page = folder / "capacity.html"
        table = timed(lambda: capacity.write_zoo.without_prefect(zoo, store, page, {}))
        megabytes = page.stat().st_size / 1e6
        root = (store / "zarr.json").stat().st_size / 1e6
    each = (measured[long][0] - measured[short][0]) / (long - short)
    spent = (measured[long][1] - measured[short][1]) / (long - short)
    lines = [
        "",
        f"## A list of {asked.list:,} checkpoints, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.zoo_scale`: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} "
        f"at the end; ResNet-20s, four matrizations at 3 × 32 × 32; one more checkpoint from lists "
        f"of {short} and {long}.",
        "",
        "| what | by the clock, s | the flow's processor, s | |",
        "| --- | ---: | ---: | --- |",
        f"| one checkpoint more | {each:.2f} | {spent:.2f} | {of_each} |",
        f"| table and page of {asked.list:,} | {table[0]:.1f} | {table[1]:.1f} | page "
        f"{megabytes:.1f} MB, metadata {root:.1f} MB, {table[2]:+.0f} MiB of memory |",
    ]
    print("\n".join(lines))
    with RESULTS.open("a", encoding="utf-8") as results:
        results.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
