"""What it costs to find out whether the models of a list can be opened, beside opening them.

    python -m benchmarks.model_checks [--models 1000]

ResNets 20 to 56, each with a checkpoint of its own, in turn: looked at as ``ddp capacity`` does
before it starts a server (built without memory, tensors mapped, numbers read or not), and opened.
Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ddp_tasks.networks import CifarResNet
from ddp_tasks.networks.model_checks import check_model
from ddp_tasks.networks.models import open_model
from flows.zoo_files import check_contents
from schemas.parameters import ModelParameters
from schemas.run_files import check
from schemas.zoo import ZooParameters

RESULTS = Path(__file__).with_name("RESULTS.md")
_DEPTHS = (20, 32, 44, 56)
_FACTORY = "ddp_tasks.networks:CifarResNet"

#: What is done with a model, by what the table calls it.
WAYS: dict[str, Callable[[ModelParameters], object]] = {
    "shapes alone": lambda model: check_model(model, numbers=False),
    "shapes and numbers": check_model,
    "opened": open_model,
}


def zoo(folder: Path, number: int) -> ZooParameters:
    """A list of so many networks, whose checkpoints are written to a folder."""
    models = []
    for i in range(number):
        depth = _DEPTHS[i % len(_DEPTHS)]
        torch.manual_seed(i)
        torch.save(CifarResNet(depth).state_dict(), folder / f"{i}.pt")
        models.append({
            **{"name": f"ResNet-{depth}, seed {i}", "family": "ResNet", "accuracy": 90},
            **{"factory": _FACTORY, "kwargs": {"depth": depth}, "weights": str(folder / f"{i}.pt")},
        })  # fmt: skip
    content = {"name": "many", "input_size": [3, 32, 32], "models": models}
    return check(ZooParameters, content, "many")


def milliseconds(models: list[ModelParameters]) -> dict[str, float]:
    """Processor time of each way for one model; the ways take turns."""
    spent = dict.fromkeys(WAYS, 0.0)
    for model in models:
        for way, do in WAYS.items():
            began = time.process_time()
            do(model)
            spent[way] += time.process_time() - began
    return {way: 1000 * seconds / len(models) for way, seconds in spent.items()}


def section(number: int, spent: dict[str, float], seconds: float) -> str:
    """The section of RESULTS.md."""
    rows = [f"| {way} | {value:.0f} |" for way, value in spent.items()]
    return "\n".join([
        f"\n## Looking at {number:,} models, {datetime.date.today()}",
        "",
        f"`python -m benchmarks.model_checks --models {number}`; {os.cpu_count()} cores, "
        f"{platform.machine()}, one thread of torch. The whole list takes {seconds:.0f} s by the "
        "clock, in processes of its own.",
        "",
        "| one ResNet of 20 to 56 layers | processor time, ms |",
        "| --- | ---: |",
        *rows,
        "",
    ])  # fmt: skip


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    number = parser.parse_args().models
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        many = zoo(Path(temporary), number)
        spent = milliseconds([model.parameters for model in many.models])
        began = time.monotonic()
        if said := check_contents(many):
            raise SystemExit(said)
        text = section(number, spent, time.monotonic() - began)
    print(text)
    with RESULTS.open("a") as results:
        results.write(text)


if __name__ == "__main__":
    main()
