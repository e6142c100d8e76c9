"""Where the time of the main job goes, and what it costs beside the bare work inside it.

    make bench          (or: python benchmarks/main_job.py --runs 3)

Runs `ddp run digits` in fresh folders, and in the same script a bare loop that only trains the
network and passes the images through it; appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def whole_job() -> dict[str, float]:
    """Seconds of each part of one run, from its own closing lines."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [Path(sys.executable).with_name("ddp"), "run", "digits", "--out", f"{folder}/out"],
            env={**os.environ, "PREFECT_HOME": f"{folder}/prefect"},
            capture_output=True,
            text=True,
            check=True,
        )
    (line,) = re.findall(r"^([\d.]+) s: (.*)$", done.stdout, re.MULTILINE)
    parts = re.findall(r"([^,]+?) ([\d.]+)(?:, |$)", line[1])
    return {"whole job": float(line[0]), **{name: float(seconds) for name, seconds in parts}}


def bare_work() -> float:
    """Seconds to train the same network and pass the 500 images through it, and nothing else."""
    import torch

    from ddp_tasks.images.image_sets import open_images
    from ddp_tasks.networks.models import open_model
    from ddp_tasks.networks.training import train
    from schemas import load_run

    run = load_run("digits")
    assert run.model.training is not None
    start = time.perf_counter()
    training_set = open_images(run.images.training_set(run.model.training))
    model = train(partial(open_model, run.model), training_set, run.model.training)
    images = open_images(run.images)
    with torch.inference_mode():
        for i in range(0, len(images), 64):
            model(images.batch(i, min(i + 64, len(images))))
    return time.perf_counter() - start


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs to take the median of")
    runs = parser.parse_args().runs
    jobs, bare = [], []
    for i in range(runs):
        jobs.append(whole_job())
        bare.append(bare_work())
        print(f"run {i + 1} of {runs}: {jobs[-1]['whole job']:.1f} s, bare {bare[-1]:.1f} s")
    median = {name: statistics.median(job[name] for job in jobs) for name in jobs[0]}
    bare_median = statistics.median(bare)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "prefect", "distributed", "zarr")
    )
    lines = [
        f"\n## Main job, preset digits, {datetime.date.today().isoformat()}",
        "",
        f"`make bench`, median of {runs} runs; {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}.",
        "",
        "| part | seconds | share |",
        "| --- | ---: | ---: |",
        *[f"| {n} | {s:.1f} | {s / median['whole job']:.0%} |" for n, s in median.items()],
        "",
        f"Training and one pass over the images alone, in one process: {bare_median:.1f} s; the "
        f"whole job takes {median['whole job'] / bare_median:.1f} times that. Shortest and longest "
        f"job: {min(j['whole job'] for j in jobs):.1f} s and "
        f"{max(j['whole job'] for j in jobs):.1f} s.",
    ]
    with RESULTS.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
