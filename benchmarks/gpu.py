"""Runs on a machine's GPUs: throughput, the cube beside the processors', pictures and removals.

    python -m benchmarks.gpu --data FOLDER [--only NAME ...] [--images N] [--device cpu]

FOLDER holds ``cifar10/test``, ``imagenet-sample`` and ``models``. Everything that is timed runs in
a process of its own: on the GPUs by ``cluster: cuda``, and on two cores by ``cluster: local`` with
the GPUs hidden. For digits (random weights), CIFAR-10 (ResNet-56, pictures in memory) and
EfficientNet-Lite0 (JPEG files, decoded by the processors and by the GPUs), in each precision:

- images a second of the signals stage past its start (all images less a few, over the seconds of
  all less those of the few), beside a bare loop on one GPU in the same precision, times the GPUs.
  The loop is what a person would write: ``inference_mode``, channels last, autocast for bfloat16,
  batches that lie ready on the GPU.
- the cube of the few images beside that of the processors in float32: root mean square of the
  difference over that of the signals, in the worst layer, and images that are named otherwise.

Then a whole run of the digits preset and of CIFAR-10, whose pictures (``ddp visualize``) and
removals (``ddp ablate``) are made on the GPUs and on two cores. With ``--device cpu`` the
processors take the GPUs' place: it shows that the command works, and nothing else.

Appends a section to benchmarks/RESULTS.md, with the lines that runs log of workers and GPUs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from benchmarks.gpu_cases import Case, cases, keep_pictures, weights_of
from benchmarks.validation import RESULTS, without_extras
from schemas.parameters import RunParameters
from schemas.run_files import load_run
from schemas.visualization_parameters import VisualizationParameters

_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
}
#: Share of the bare loop's throughput that is asked for.
ASKED = 0.9
#: What the cube may differ from the processors', by precision: root mean square of the differences
#: over that of the signals. Factors are rounded at 6e-8, 5e-4 and 4e-3; layers add to it.
TOLERANCE = {"float32": 1e-4, "tfloat32": 1e-2, "bfloat16": 1e-1}
#: Images that are compared, and that are taken off the throughput.
FEW = 256
#: Seconds that a bare loop runs at least.
LOOP_SECONDS = 5.0
#: Pictures of a sheet, and images of a class that judge removals.
PICTURES, JUDGES = 64, 50


# --- what is done in processes of their own ---------------------------------------------------


def cube_job(runs: dict[str, str], folder: Path) -> dict[str, Any]:
    """Seconds of the signals stage of several runs on one cluster, which starts before."""
    from prefect import flow

    from ddp_tasks.stages import decomposition, extraction, signals
    from ddp_tasks.store import groups
    from flows.clusters import scheduler

    given = {name: RunParameters.model_validate_json(run) for name, run in runs.items()}
    (cluster,) = {run.cluster for run in given.values()}
    folder.mkdir(parents=True)

    @flow(name="gpu")
    def measured() -> dict[str, float]:
        seconds = {}
        with scheduler(cluster) as address:
            for name, run in given.items():
                path = folder / f"{name}.zarr"
                decomposition.decompose_layers(run, path, address)
                extraction.measure_extraction(run, path, address)
                begun = time.perf_counter()
                signals.fill_cube(run, path, address)
                groups.seal(path)
                seconds[name] = time.perf_counter() - begun
        return seconds

    return dict(measured())


def loop_job(run: str, device: str) -> dict[str, Any]:
    """Images a second of a bare loop on one device, and how many devices there are."""
    from ddp_tasks.networks.forward_pass import products
    from ddp_tasks.prepared_run import prepare

    parameters = RunParameters.model_validate_json(run)
    prepared, where = prepare(parameters, labelled=False), torch.device(device)
    precision = parameters.extraction.precision
    model: nn.Module = prepared.model.to(where)
    model.to(memory_format=torch.channels_last)
    batch = prepared.images.batch(0, min(len(prepared.images), parameters.shards.batch_size))
    batch = batch.to(where, memory_format=torch.channels_last)
    module = torch.get_device_module(where)
    autocast = torch.autocast(where.type, torch.bfloat16, enabled=precision == "bfloat16")
    together = 10 if device == "cuda" else 1  # batches that a GPU is told of at a time
    with torch.inference_mode(), products(tensor_float=precision == "tfloat32"), autocast:
        for _ in range(3):
            model(batch)
        module.synchronize()
        begun, batches = time.perf_counter(), 0
        while time.perf_counter() - begun < LOOP_SECONDS:
            for _ in range(together):
                model(batch)
            batches += together
            module.synchronize()
        rate = batches * len(batch) / (time.perf_counter() - begun)
    return {"rate": rate, "devices": module.device_count() if device == "cuda" else 1}


def whole_job(run: str, folder: str) -> dict[str, Any]:
    """Carry a run out as ``ddp run`` does; seconds by stage."""
    from flows.pipeline import run_pipeline

    return dict(run_pipeline(RunParameters.model_validate_json(run), Path(folder)).seconds)


def extras_job(run: str, store: str, options: dict[str, int]) -> dict[str, Any]:
    """Seconds of the pictures and of the removals of a finished run, and how many there are."""
    from prefect import flow

    from ddp_tasks.queries.visualization_targets import wanted_by_run
    from ddp_tasks.stages import ablation, visualizations
    from ddp_tasks.workers import kept
    from flows.clusters import scheduler
    from schemas.ablation_parameters import AblationParameters

    parameters, path = RunParameters.model_validate_json(run), Path(store)
    pictures = VisualizationParameters(targets="all", images=options["pictures"], seconds=None)
    pictured = parameters.model_copy(update={"visualizations": pictures})
    judged = AblationParameters(images=options["judges"], others=options["judges"])

    @flow(name="gpu-extras")
    def measured() -> dict[str, Any]:
        with scheduler(parameters.cluster) as address:
            begun = time.perf_counter()
            visualizations.visualize(
                pictured, path, wanted_by_run(pictured, path), pictures, address
            )
            between = time.perf_counter()
            layers = kept.layer_names(path)[-2:]
            ablation.remove_vectors(parameters, path, judged, layers, address)
            return {"pictures": between - begun, "removals": time.perf_counter() - between}

    return dict(measured())


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "cube": cube_job,
    "loop": loop_job,
    "whole": whole_job,
    "extras": extras_job,
}


@dataclass(frozen=True)
class Side:
    """Where something runs: on the GPUs, or on two cores without them."""

    device: str
    cores: int | None = None

    @property
    def cluster(self) -> str:
        """``cluster`` of its runs."""
        return "cuda" if self.device == "cuda" else "local"


def apart(job: str, side: Side, **arguments: Any) -> tuple[dict[str, Any], list[str]]:
    """What a job found in a process of its own, and the lines it logged of workers and GPUs."""
    hidden = {} if side.device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    cores = () if side.cores is None else ("--cores", str(side.cores))
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.json", Path(folder) / "found.json"
        given.write_text(json.dumps(arguments, default=str))
        command = [sys.executable, "-m", "benchmarks.gpu", "--job", job, str(given), str(found)]
        done = subprocess.run(
            [*command, *cores], env=os.environ | hidden, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{job} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        said = (done.stdout + done.stderr).splitlines()
        lines = [line for line in said if ", process " in line or "decoded on GPUs" in line]
        return json.loads(found.read_text()), lines


def _carry_out(job: str, given: str, found: str, cores: int | None) -> None:
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    arguments = json.loads(Path(given).read_text())
    if "folder" in arguments:
        arguments["folder"] = Path(arguments["folder"])
    Path(found).write_text(json.dumps(JOBS[job](**arguments)))


# --- the tables -------------------------------------------------------------------------------


def difference(found: Path, expected: Path) -> tuple[float, int]:
    """Greatest relative error of a layer of one cube beside another, and changed predictions."""
    from ddp_tasks.store import groups

    one, other = (groups.read(path, "signals") for path in (found, expected))
    exact = other["signal"].to_numpy().astype(np.float64)
    apart_by = one["signal"].to_numpy().astype(np.float64) - exact
    error, size = (np.sqrt(np.nanmean(x**2, axis=(0, 2))) for x in (apart_by, exact))
    changed = one["predicted"].to_numpy() != other["predicted"].to_numpy()
    return float((error / size).max()), int(changed.sum())


def throughput_rows(
    name: str, case: Case, side: Side, folder: Path, counts: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """Rows of the table of one network, and what its runs logged."""
    weights = weights_of(case, folder)
    rows: list[str] = []
    said: list[str] = []
    few, many = counts
    own = Side("cpu")
    plain = {"few": case.run(few, weights, cluster=own.cluster).model_dump_json()}
    processors = folder / name / "processors"
    apart("cube", own, runs=plain, folder=processors)
    for precision, allowed in TOLERANCE.items():
        run = case.run(many, weights, extraction={"precision": precision})
        loop, _ = apart("loop", side, run=run.model_dump_json(), device=side.device)
        for decoding in case.decoding:
            options = {"precision": precision, "decoding": decoding}
            runs = {
                which: case.run(count, weights, cluster=side.cluster, extraction=options)
                for which, count in (("few", few), ("many", many))
            }
            asked = {which: one.model_dump_json() for which, one in runs.items()}
            here = folder / name / f"{precision}-{decoding}"
            seconds, lines = apart("cube", side, runs=asked, folder=here)
            rate = (many - few) / max(seconds["many"] - seconds["few"], 1e-9)
            error, changed = difference(here / "few.zarr", processors / "few.zarr")
            bare = loop["rate"] * loop["devices"]
            rows.append(
                f"| {name} | {precision} | {decoding} | {many:,} | {seconds['many']:.1f} "
                f"| {rate:,.0f} | {bare:,.0f} | **{rate / bare:.2f}** | {error:.1e} "
                f"({allowed:.0e}) | {changed} of {few} |"
            )
            print(rows[-1], flush=True)
            said += lines
            shutil.rmtree(here / "many.zarr")
    return rows, said


def extras_rows(
    name: str, run: RunParameters, side: Side, folder: Path, few: dict[str, int]
) -> list[str]:
    """Rows of the table of pictures and removals: on the GPUs, and on two cores."""
    seconds: dict[str, dict[str, float]] = {}
    there, here = folder / name / "gpu", folder / name / "cores"
    cores = Side("cpu", 2)
    on_gpu = run.model_copy(update={"cluster": side.cluster})
    on_cores = run.model_copy(update={"cluster": cores.cluster})
    whole, _ = apart("whole", side, run=on_gpu.model_dump_json(), folder=there)
    shutil.copytree(there / "store.zarr", here / "store.zarr")
    for place, one, where in ((there, on_gpu, side), (here, on_cores, cores)):
        store, asked = str(place / "store.zarr"), one.model_dump_json()
        seconds[place.name], _ = apart("extras", where, run=asked, store=store, options=few)
    what = {
        "pictures": f"{few['pictures']} pictures of `ddp visualize`",
        "removals": f"removals of two layers, {few['judges']} images a class",
    }
    rows = [f"| {name} | the whole run | {sum(whole.values()):.1f} | | |"]
    for key, words in what.items():
        fast, slow = seconds["gpu"][key], seconds["cores"][key]
        rows.append(f"| {name} | {words} | {fast:.1f} | {slow:.1f} | {slow / fast:.1f} |")
    print("\n".join(rows), flush=True)
    return rows


def whole_runs(data: Path) -> dict[str, RunParameters]:
    """Runs whose pictures and removals are timed."""
    from benchmarks.validation import cifar10

    runs = {"digits": without_extras(load_run("digits"))}
    if (data / "models" / "cifar10_resnet56.pt").is_file():
        runs["cifar10"] = without_extras(cifar10(data, 100, "resnet56"))
    return runs


def section(
    devices: str, rows: Sequence[str], extras: Sequence[str], said: Sequence[str]
) -> list[str]:
    """The section of RESULTS.md."""
    return [
        f"\n## Runs on GPUs, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.gpu --data FOLDER`: {devices}, {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}. "
        f"Asked: {ASKED} of the bare loop, and errors within those in brackets.",
        "",
        "| network | precision | decoding | images | seconds | images/s past the start "
        "| bare loop × GPUs | share | error (allowed) | named otherwise |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        "| run | what | GPUs, s | two cores, s | times |",
        "| --- | --- | ---: | ---: | ---: |",
        *extras,
        "",
        *(f"    {line.strip()}" for line in said),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of images and models")
    names = ["digits", "cifar10", "efficientnet"]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, help="images of a throughput at most")
    parser.add_argument("--few", type=int, default=FEW, help="images that are compared")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--judges", type=int, default=JUDGES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.job is not None:
        job, given, found = asked.job
        _carry_out(job, given, found, asked.cores)
        return
    if asked.data is None:
        parser.error("--data FOLDER is needed")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu shows that the command works")
    data, side = asked.data.expanduser().resolve(), Side(asked.device)
    rows: list[str] = []
    extras: list[str] = []
    said: list[str] = []
    with (
        tempfile.TemporaryDirectory() as temporary,
        mock.patch.dict(os.environ, _PREFECT, PREFECT_HOME=f"{temporary}/prefect"),
    ):
        folder = Path(temporary)
        for name, case in cases(data, folder).items():
            if name in asked.only:
                keep_pictures(name, data, folder)
                counts = asked.few, min(case.many, asked.images or case.many)
                more, lines = throughput_rows(name, case, side, folder, counts)
                rows += more
                said += lines
        few = {"pictures": asked.pictures, "judges": asked.judges}
        for name, run in whole_runs(data).items():
            if name in asked.only:
                extras += extras_rows(name, run, side, folder / "whole", few)
    lines = section(_devices(side), rows, extras, said)
    print("\n".join(lines))
    with asked.results.open("a") as results:
        results.write("\n".join(lines) + "\n")


def _devices(side: Side) -> str:
    if side.device == "cpu":
        return "no GPU: the processors in their place"
    count = torch.cuda.device_count()
    return f"{count} × {torch.cuda.get_device_name(0)}"


if __name__ == "__main__":
    main()
