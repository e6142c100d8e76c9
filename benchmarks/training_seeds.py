"""What of the paper's network survives another seed, more training, another architecture.

    python -m benchmarks.training_seeds     (a quarter of an hour on two cores)

Trains the preset digits with five seeds, keeps checkpoints of the first training, trains another
architecture on the same images, and compares all of these as ``ddp compare`` does: sets of target
classes that a signed vector is significant for, in how many of the five networks, beside permuted
names of classes, random bases, and random bases that keep each signal's variance. Appends to
benchmarks/RESULTS.md. A run that is in the folder of ``--out`` already is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.training import train
from ddp_tasks.queries.comparison_tables import (
    findings_frame,
    layers_frame,
    matching_sentence,
    stable_sets,
)
from ddp_tasks.queries.descriptions import describe
from ddp_tasks.queries.model_comparison import ModelComparison, compare_models
from schemas.parameters import RunParameters
from schemas.run_files import load_run

RESULTS = Path(__file__).with_name("RESULTS.md")
SEEDS = (0, 1, 2, 3, 4)
#: Epochs of the first training whose checkpoints are compared with its end.
EPOCHS = (1, 2, 5)

_PARTS = ("seeds", "checkpoints", "architecture")
#: What these comparisons do not look at.
_LESS = (
    "cluster=local",
    "visualizations.targets=none",
    "controls={rotations: 0, permutations: 0}",
    "capacity=[]",
)


class PooledNetwork(nn.Module):
    """Three narrow convolutions and a mean over positions, for images (1, 28, 28)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.third = nn.Conv2d(32, 64, 3, padding=1)
        self.head = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes)."""
        x = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(torch.relu(self.third(x)).mean(dim=(2, 3)))


def carried_out(run: RunParameters, folder: Path) -> Path:
    """Carry a run out where it is not finished, and give its folder."""
    from flows.pipeline import run_pipeline

    if not (folder / "report.html").is_file():
        run_pipeline(run, folder)
    return folder


def of_seed(seed: int, out: Path, *changes: str) -> Path:
    """The preset digits trained with a seed."""
    run = load_run("digits", [f"model.training.seed={seed}", *_LESS, *changes])
    return carried_out(run, out / f"seed{seed}")


def checkpoints(out: Path, epochs: Sequence[int], *changes: str) -> list[Path]:
    """Runs of the network of seed 0 as it was after some epochs of its training."""
    run = load_run("digits", [*_LESS, *changes])
    files = {epoch: out / f"epoch{epoch}.pt" for epoch in epochs}
    if not all(file.is_file() for file in files.values()):
        keep_checkpoints(run, files)
    return [
        carried_out(
            load_run("digits", ["model.training=null", f"model.weights={file}", *_LESS, *changes]),
            out / file.stem,
        )
        for file in files.values()
    ]


def keep_checkpoints(run: RunParameters, files: dict[int, Path]) -> None:
    """Train a run's network and keep its weights after some epochs, in the files of these."""
    training = run.model.training
    assert training is not None
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(open_model(run.model))
        return built[-1]

    images = open_images(run.images.training_set(training))
    of_epoch = len(images) // training.batch_size * training.batch_size
    trained = 0

    def done(count: int, _loss: Tensor) -> None:
        nonlocal trained
        trained += count
        epoch, rest = divmod(trained, of_epoch)
        if not rest and epoch in files:
            torch.save(built[-1].state_dict(), files[epoch])

    train(build, images, training, done)


def other_architecture(out: Path, *changes: str) -> Path:
    """Another network on the same images."""
    factory = f"model.factory={Path(__file__).resolve()}:PooledNetwork"
    longer = ("model.training.epochs=40", "model.training.learning_rate=0.003")
    levels = ("significance.layers={}",)
    run = load_run("digits", [factory, *longer, *levels, *_LESS, *changes])
    return carried_out(run, out / "pooled")


def seeds_section(comparison: ModelComparison) -> list[str]:
    """What holds in all networks but one, as Markdown."""
    networks = len(comparison.networks)
    least = max(networks - 1, 2)
    lines = [
        f"### {networks} seeds",
        "",
        f"Accuracy {_accuracies(comparison)}; {len(comparison.images.ids):,} images.",
        "",
        f"| layer | sets of classes | in at least {least} of {networks} | names permuted | random "
        "bases | variances kept | which |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    findings = findings_frame(comparison)
    for one in stable_sets(comparison):
        held = findings[(findings["layer"] == one.layer) & (findings["networks"] >= least)]
        every = len(comparison.images.classes)
        which = [
            f"{'all' if row['classes'] == every else row['target_classes']} ({row['networks']})"
            for row in held.to_dict("records")
        ]
        chance = [f"{mean:.1f}, {high:.0f}" for mean, high in (one.renamed, one.turned, one.varied)]
        lines.append(
            f"| {one.layer} | {one.sets} | {one.stable} | {' | '.join(chance)} | "
            f"{'; '.join(which) or '–'} |"
        )
    return [
        *lines,
        "",
        "By chance: mean and 95th percentile of 20 draws.",
        "",
        *(f"- {one.sentence}." for one in stable_sets(comparison)),
        f"- {matching_sentence(comparison)}",
    ]


def descriptions_line(folders: Sequence[Path]) -> str:
    """How many signed vectors of each network are described better than random directions."""
    counted = [
        (found.counted(), found.counted(kept_variances=True)) for found in map(describe, folders)
    ]
    plain, varied = (", ".join(str(of.above) for of in kind) for kind in zip(*counted, strict=True))
    first = counted[0][0]
    return (
        f"- Of {first.vectors} signed vectors ({first.expected:.0f} by chance) are above the 95th "
        f"percentile of random directions, as ddp describe counts them: {plain}; of those that "
        f"keep variances: {varied}."
    )


def pairs_section(title: str, comparison: ModelComparison) -> list[str]:
    """Layers of the first network beside those of each other one, as Markdown."""
    first = comparison.networks[0].name
    rows = layers_frame(comparison)
    lines = [
        f"### {title}",
        "",
        f"Accuracy {_accuracies(comparison)}.",
        "",
        "| networks | layers | CKA | vectors matched | median abs. correlation | turned | vectors "
        "whose set survives | names permuted | random bases | variances kept |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows[rows["a"] == first].to_dict("records"):
        layers = [row["layer_a"], *([] if row["layer_a"] == row["layer_b"] else [row["layer_b"]])]
        shares = [row[f"surviving{of}"] for of in ("", "_renamed", "_turned", "_varied")]
        lines.append(
            f"| {row['a']}, {row['b']} | {', '.join(layers)} | {row['cka']:.2f} | "
            f"{row['vectors_matched']} of {row['vectors']} | {row['correlation']:.2f} | "
            f"{row['correlation_turned']:.2f} | {' | '.join(f'{share:.0%}' for share in shares)} |"
        )
    return [*lines, ""]


def _accuracies(comparison: ModelComparison) -> str:
    return ", ".join(f"{one.name} {one.run.accuracy:.1%}" for one in comparison.networks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, compare and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("ddp-results/training-seeds"))
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--epochs", type=int, nargs="+", default=list(EPOCHS))
    parser.add_argument("--set", dest="changes", nargs="*", default=[], help="keys of the preset")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    out, changes = options.out.expanduser().resolve(), options.changes
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        f"## The paper's network trained again, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.training_seeds`: {os.cpu_count()} cores, {platform.machine()}, "
        f"torch {torch.__version__}. The preset digits, both directions; training gives another "
        "network on another processor or number of threads.",
        "",
    ]
    first = of_seed(options.seeds[0], out, *changes)
    if "seeds" in options.only:
        folders = [first, *(of_seed(seed, out, *changes) for seed in options.seeds[1:])]
        lines += seeds_section(compare_models(folders))
        lines += [descriptions_line(folders), ""]
    if "checkpoints" in options.only:
        earlier = checkpoints(out, options.epochs, *changes)
        comparison = compare_models([first, *earlier])
        lines += pairs_section("Checkpoints of one training beside its end", comparison)
    if "architecture" in options.only:
        comparison = compare_models([first, other_architecture(out, *changes)])
        lines += pairs_section("Another architecture on the same images", comparison)
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
