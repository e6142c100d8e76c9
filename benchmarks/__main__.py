"""All benchmarks, one after the other; each appends its section to benchmarks/RESULTS.md.

    python -m benchmarks [--data FOLDER] [--only NAME ...]

FOLDER holds images and trained models (``imagenet-sample``, ``cifar10``, ``MNIST``, ``models``);
without it the benchmarks that need them are left out, and named at the end. Expect two to three
hours on two cores, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

#: Each benchmark's module and arguments; {data} stands for the folder.
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "main_job": (),
    "decomposition": ("--threads", "1"),
    "reductions": (),
    "exemplars": (),
    "family": (),
    "shards": (),
    "certificates": (),
    "sharding": (),
    "scale": (),
    "explorer": (),
    "model_checks": (),
    "spectra": ("--models", "{data}/models"),
    "images": ("--images", "{data}/imagenet-sample"),
    "throughput": ("--data", "{data}"),
    "pass_parts": ("--data", "{data}"),
    "controls": ("--data", "{data}"),
    "misclassification": ("--data", "{data}"),
    "ablation": ("--data", "{data}"),
    "pruning": ("--data", "{data}"),
    "visualization": ("--data", "{data}"),
    "visualization_speed": ("--data", "{data}"),
    "descriptions": ("--data", "{data}"),
    "training_seeds": (),
    "faults": (),
    "damage": ("--kills", "200", "--every", "8"),
    "extremes": (),
    "stopping": (),
    "refusals": (),
}


def main() -> None:
    """Run those asked for; the exit status is the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of images and trained models")
    parser.add_argument("--only", nargs="*", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    arguments = parser.parse_args()
    left_out, failed = [], []
    for name in arguments.only:
        options = BENCHMARKS[name]
        if arguments.data is None and any("{data}" in option for option in options):
            left_out.append(name)
            continue
        filled = [o.format(data=arguments.data and arguments.data.expanduser()) for o in options]
        command = [sys.executable, "-m", f"benchmarks.{name}", *filled]
        print(f"\n$ python {' '.join(command[1:])}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if left_out:
        print(f"left out, since they need --data: {', '.join(left_out)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    raise SystemExit(len(failed))


if __name__ == "__main__":
    main()
