"""Which predictions of a finished run are likely wrong, judged by the signals of its layers.

Neither the model nor the images are opened, so this needs only the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.queries.image_parts import image_parts
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.significance.auroc import Aurocs, Interval
from ddp_tasks.significance.gaussian_scores import split_margins
from ddp_tasks.significance.misclassification_scores import (
    ALL,
    ALONE,
    FEW,
    LAST,
    SOFTMAX,
    MisclassificationScores,
    misclassification_scores,
)
from ddp_tasks.store import groups
from ddp_tasks.store.cube import OpenCube, open_cube, rows_of_layer
from schemas.object_paths import path_of
from schemas.parameters import RunError, RunParameters

#: Images that are read at most, so that a layer's signals fit into memory.
MOST_IMAGES = 50_000


@dataclass(frozen=True)
class JudgedImages:
    """The images of a run whose predictions are judged, and which of them choose."""

    run: RunParameters
    path: Path
    cube: OpenCube
    layers: xr.Dataset
    """the store's group ``layers``, loaded."""
    target_classes: tuple[str, ...]
    ids: npt.NDArray[np.object_]
    """shape (n,)"""
    position: npt.NDArray[np.int64]
    """shape (n,); of each among all images of the run, ascending."""
    target: npt.NDArray[np.int64]
    """shape (n,)"""
    predicted: npt.NDArray[np.int64]
    """shape (n,)"""
    confidence: npt.NDArray[np.float32]
    """shape (n,)"""
    choosing: npt.NDArray[np.bool_]
    """shape (n,); the others judge."""
    notes: tuple[str, ...]
    """sentences on images that are left out, and on the split."""

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Whether each prediction is wrong; shape (n,)."""
        return self.predicted != self.target

    @property
    def layer_names(self) -> tuple[str, ...]:
        """All layers of the run, in forward order."""
        return tuple(map(str, self.layers["layer"].to_numpy()))

    def signals(self, layer: int) -> npt.NDArray[np.float32]:
        """Signals of the layer at a position, shape (n, r); NaN of images that do not reach it."""
        wanted = np.zeros(len(self.cube.target), dtype=np.bool_)
        wanted[self.position] = True
        within_rank = slice(0, int(self.layers["rank"][layer]))
        return rows_of_layer(self.cube, layer, within_rank, wanted)


def open_judged_images(folder: Path) -> JudgedImages:
    """The images of a finished run, split into those that choose and those that judge.

    Raises
    ------
    RunError
        If there is no finished run of this format, it has one class only, or a class has too few
        images.
    """
    stored = open_significance(folder)
    path = path_of(folder).expanduser() / "store.zarr"
    signals = groups.read(path, "signals")
    target = signals["target"].to_numpy().astype(np.int64)
    predicted = signals["predicted"].to_numpy().astype(np.int64)
    read = signals["error"].to_numpy().astype(object) == ""
    seed = stored.run.significance.seed
    part, split = image_parts(stored.significance, np.where(read, target, -1), seed, path)
    # A network may choose a class that none of the run's images has; no Gaussian can be fitted.
    known = np.isin(predicted, np.unique(target[read]))
    usable = np.flatnonzero(read & known)
    notes = [split]
    if away := int((read & ~known).sum()):
        notes.append(f"{away:,} images are predicted as classes without images, and left out.")
    if len(usable) > MOST_IMAGES:
        rng = np.random.default_rng(seed)
        usable = np.sort(rng.permutation(usable)[:MOST_IMAGES])
        notes.append(f"{MOST_IMAGES:,} images were drawn at random; the others are unused.")
    images = JudgedImages(
        run=stored.run,
        path=path,
        cube=open_cube(path),
        layers=stored.layers,
        target_classes=tuple(map(str, signals["target_class"].to_numpy())),
        ids=signals["image"].to_numpy().astype(object)[usable],
        position=usable,
        target=target[usable],
        predicted=predicted[usable],
        confidence=signals["confidence"].to_numpy()[usable],
        choosing=part[usable] == 0,
        notes=tuple(notes),
    )
    _check_classes(images)
    return images


def _check_classes(images: JudgedImages) -> None:
    """Refuse images from which no Gaussians can be fitted."""
    labels = np.unique(images.target)
    if len(labels) < 2:
        raise RunError(
            f"{images.path} holds images of {len(labels)} class; a margin needs at least 2"
        )
    counts = [int((images.choosing & (images.target == label)).sum()) for label in labels]
    least = int(np.argmin(counts))
    if counts[least] < 2:
        raise RunError(
            f"class {images.target_classes[labels[least]]!r} of {images.path} has "
            f"{counts[least]} image in the half that chooses; Gaussian scores need 2 of each class"
        )


@dataclass(frozen=True)
class Misclassification:
    """How well wrong predictions of a run are told from right ones, and how suspect each is."""

    images: JudgedImages
    layers: tuple[str, ...]
    """that have a margin, in forward order."""
    left_out: tuple[str, ...]
    """sentences on layers without one."""
    margins: npt.NDArray[np.float64]
    """shape (n, layer); in nats."""
    found: MisclassificationScores
    judged: Aurocs

    @property
    def confidence(self) -> float:
        """Level of the intervals."""
        return self.images.run.significance.confidence

    def gain(self, a: str, b: str) -> Interval:
        """By how much score a is better than score b, on the images that judge."""
        first, second = map(self.found.names.index, (a, b))
        return self.judged.difference(first, second, self.confidence)

    def table(self) -> pd.DataFrame:
        """One row for each score: its area under the ROC curve, and its gain on max-softmax.

        Returns
        -------
        columns score, auroc, low, high, gain, gain_low, gain_high; intervals of single layers are
        not corrected for how many layers there are
        """
        rows = []
        for place, name in enumerate(self.found.names):
            own = self.judged.interval(place, self.confidence)
            gain = self.gain(name, SOFTMAX)
            rows.append((name, own.value, own.low, own.high, gain.value, gain.low, gain.high))
        columns = ("score", "auroc", "low", "high", "gain", "gain_low", "gain_high")
        return pd.DataFrame(rows, columns=list(columns))

    def by_image(self) -> pd.DataFrame:
        """One row for each image, the most suspect first.

        Returns
        -------
        columns image, part, target_class, predicted, misclassified, confidence, error_probability
        (by the combination of all layers and max-softmax), and each layer's margin in nats
        """
        images = self.images
        log_odds = self.found.scores[self.found.names.index(ALL)]
        frame = pd.DataFrame(
            {
                "image": images.ids,
                "part": np.where(images.choosing, "selection", "estimation"),
                "target_class": [images.target_classes[c] for c in images.target],
                "predicted": [images.target_classes[c] for c in images.predicted],
                "misclassified": images.wrong,
                "confidence": images.confidence,
                "error_probability": 1 / (1 + np.exp(-log_odds)),
                **{f"margin {layer}": self.margins[:, i] for i, layer in enumerate(self.layers)},
            }
        )
        return frame.sort_values("error_probability", ascending=False, kind="stable")

    def verdict(self) -> str:
        """What the layers add to max-softmax and to the last layer, in plain sentences."""
        sentences = []
        for rival, words in ((SOFTMAX, "max-softmax alone"), (LAST, "the control on class scores")):
            gain = self.gain(ALL, rival)
            ends = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            if gain.includes_zero:
                told = f"is not shown to differ from {words}: {ends}, which includes zero."
            else:
                told = f"is {'better' if gain.value > 0 else 'worse'} than {words} by {ends}."
            sentences.append(f"The combination of all layers with max-softmax {told}")
        chosen = int((self.images.wrong & self.images.choosing).sum())
        if min(chosen, self.judged.positive) < FEW:
            sentences.append(
                f"Only {chosen} of the images that choose and {self.judged.positive} of those that "
                "judge are misclassified: the intervals hold roughly at best."
            )
        return " ".join(sentences)

    @property
    def best_layer(self) -> str:
        """The layer that is best alone on the images that choose."""
        return self.found.names[self.found.best_layer()].removeprefix(ALONE)


def misclassification(folder: Path) -> Misclassification:
    """Judge the predictions of a finished run by the signals of its layers.

    Parameters
    ----------
    folder
        that the run was written to.

    Raises
    ------
    RunError
        If there is no finished run, it has one class only, a class has too few images, no image is
        misclassified, or no layer has a margin.
    """
    images = open_judged_images(folder)
    _check_predictions(images)
    margins, left_out, seed = {}, [], images.run.significance.seed
    for place, layer in enumerate(images.layer_names):
        signals = images.signals(place)
        if why := _without_margin(signals):
            left_out.append(f"{layer} is left out: {why}.")
            continue
        try:
            margins[layer] = split_margins(
                signals,
                images.target,
                images.predicted,
                images.choosing,
                seed,
            )
        except ValueError as error:
            left_out.append(f"{layer} is left out: {error}.")
    if not margins:
        raise RunError(f"no layer of {images.path} has a margin. {' '.join(left_out)}")
    stacked = np.column_stack(list(margins.values()))
    found = misclassification_scores(
        stacked, tuple(margins), images.confidence, images.wrong, images.choosing
    )
    return Misclassification(
        images, tuple(margins), tuple(left_out), stacked, found, found.judged()
    )


def _without_margin(signals: npt.NDArray[np.float32]) -> str:
    missing = int(np.isnan(signals[:, 0]).sum())
    return f"{missing:,} images do not reach it" if missing else ""


def _check_predictions(images: JudgedImages) -> None:
    """Refuse images among which wrong and right predictions are not found in both parts."""
    for name, part in (("chooses", images.choosing), ("judges", ~images.choosing)):
        wrong, count = int(images.wrong[part].sum()), int(part.sum())
        if not 0 < wrong < count:
            kind = "misclassified" if wrong == 0 else "classified rightly"
            raise RunError(
                f"none of the {count:,} images of {images.path} in the half that {name} is {kind}; "
                "wrong predictions cannot be told from right ones"
            )
