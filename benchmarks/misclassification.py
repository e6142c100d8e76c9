"""Whether the layers of a ResNet tell wrong predictions from right ones better than max-softmax.

    python -m benchmarks.misclassification --data DIR     (ten minutes on two cores)

Runs ResNet-20 and ResNet-56 on all 10,000 test images of CIFAR-10. Half of each class's images give
means, covariance and weights of the combination; on the other half every score of
``ddp misclassified`` is judged by its area under the ROC curve, with intervals. Appends the scores,
side by side, to benchmarks/RESULTS.md. DIR is that of benchmarks.validation.
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
from ddp_tasks.queries.misclassification import Misclassification, misclassification
from ddp_tasks.significance.misclassification_scores import ALONE

NETWORKS = ("resnet20", "resnet56")
PER_CLASS = 1000


def section(name: str, found: Misclassification) -> list[str]:
    """The scores of one network side by side, as Markdown."""
    images, table = found.images, found.table()
    judged = ~images.choosing
    rows = table[~table["score"].str.startswith(ALONE)]
    best = table[table["score"] == f"{ALONE}{found.best_layer}"]
    lines = [
        f"### {name}",
        "",
        f"{int((images.wrong & judged).sum()):,} of {int(judged.sum()):,} images that judge are "
        "misclassified.",
        "",
        "| score | AUROC | interval | gain on max-softmax | interval |",
        "| --- | ---: | --- | ---: | --- |",
    ]
    for row in [*rows.to_dict("records"), *best.to_dict("records")]:
        lines.append(
            f"| {row['score']} | {row['auroc']:.3f} | {row['low']:.3f} to {row['high']:.3f} "
            f"| {row['gain']:+.4f} | {row['gain_low']:+.4f} to {row['gain_high']:+.4f} |"
        )
    return [*lines, "", found.verdict(), ""]


def judged(data: Path, name: str, per_class: int) -> Misclassification:
    """Run a network on so many images a class, and judge its predictions."""
    from flows.pipeline import run_pipeline

    run = without_extras(cifar10(data, per_class, name))
    with tempfile.TemporaryDirectory() as folder:
        run_pipeline(run, Path(folder) / "out")
        return misclassification(Path(folder) / "out")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    lines = [
        f"## Wrong predictions told from right ones, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.misclassification --data DIR`: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}; CIFAR-10's test images, {options.per_class:,} a class, half "
        "of them to fit and half to judge; 95 % intervals (DeLong), differences paired by image.",
        "",
    ]
    for name in options.only:
        lines += section(name, judged(data, name, options.per_class))
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
