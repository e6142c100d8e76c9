"""One image of a finished run: in which layer and along which vectors it left its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.queries.misclassification import JudgedImages, open_judged_images
from ddp_tasks.queries.recorded_images import image_position
from ddp_tasks.significance.gaussian_scores import ClassDifference, GaussianClasses
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.parameters import RunError

Floats = npt.NDArray[np.float64]

#: Percentiles of a class's images that a figure shows.
PERCENTILES = (5, 50, 95)
_SHIFTS = 5


@dataclass(frozen=True)
class LayerMargin:
    """Where one layer puts an image between its own class and the rival."""

    layer: str
    margin: float
    """log-density of its own class less that of the rival, in nats."""
    standardised: float
    """the margin in standard deviations of a class."""
    own: tuple[float, ...]
    """``PERCENTILES`` of the same over the judging images of its own class."""
    rival: tuple[float, ...]
    """over those of the rival."""
    told_apart: float
    """share of these images that the sign of the margin puts right, mean of the two classes."""
    vectors: pd.DataFrame
    """singular_vector; vector, its name, with an asterisk where it is arbitrary; signal; mean_own;
    mean_rival; contribution, its part of the margin; shift, that less the part which the mean of
    its own class has: negative where the image moved to the rival."""

    def strongest(self, most: int = _SHIFTS) -> pd.DataFrame:
        """The vectors along which the image moved most to the rival, or away from it."""
        order = self.vectors["shift"].abs().sort_values(ascending=False, kind="stable").index
        return self.vectors.loc[order[:most]]


@dataclass(frozen=True)
class ImageMargins:
    """An image's way through the layers, between its own class and another."""

    image: str
    target_class: str
    rival: str
    """the class that the network chose; if that is right, the best other one of the last layer."""
    misclassified: bool
    confidence: float
    layers: tuple[LayerMargin, ...]
    left_out: tuple[str, ...]
    """sentences on layers without a margin."""
    notes: tuple[str, ...]

    @property
    def departure(self) -> int | None:
        """The layer from which on the margin stays negative; None if the last one's is not."""
        first = None
        for place in range(len(self.layers) - 1, -1, -1):
            if self.layers[place].margin >= 0:
                break
            first = place
        return first

    def names_arbitrary(self) -> bool:
        """Whether a vector that is named is arbitrary."""
        return any(one.strongest()["vector"].str.endswith("*").any() for one in self.layers)

    def verdict(self) -> str:
        """Where the image left its class, in a sentence."""
        place = self.departure
        if place is None:
            return (
                f"In the last layer the image is still on the side of {self.target_class}: it "
                f"never leaves its class for {self.rival} for good."
            )
        layer = self.layers[place].layer
        if place == 0:
            return (
                f"The image is on the side of {self.rival} in every layer, from {layer} on: the "
                "first layers hardly tell classes apart."
            )
        before = self.layers[place - 1].layer
        return (
            f"The image left {self.target_class} for {self.rival} in {layer}: its margin is "
            f"negative from there on, and was last positive in {before}."
        )

    def table(self) -> pd.DataFrame:
        """One row for each layer and singular vector, as ``LayerMargin.vectors``, layer first."""
        frames = [one.vectors.assign(layer=one.layer, margin=one.margin) for one in self.layers]
        frame = pd.concat(frames, ignore_index=True)
        return frame[["layer", "margin", *self.layers[0].vectors.columns]]


def image_margins(folder: Path, image: str) -> ImageMargins:
    """An image's margin between its own class and another, layer by layer and vector by vector.

    Means and covariances are those of the images that choose, without the image itself.

    Parameters
    ----------
    folder
        that the run was written to.
    image
        its id.

    Raises
    ------
    RunError
        As ``misclassification`` does, or if the run has no such image, naming the nearest, or the
        image was left out.
    """
    images = open_judged_images(folder)
    row = _row(images, image)
    own = int(images.target[row])
    choosing = images.choosing & (np.arange(len(images.choosing)) != row)
    rival = int(images.predicted[row])
    if rival == own:
        rival = _best_other(images, row, choosing)
    margins, left_out = [], []
    for place, layer in enumerate(images.layer_names):
        signals = images.signals(place)
        if np.isnan(signals[row, 0]):
            left_out.append(f"{layer} is left out: the image does not reach it.")
            continue
        try:
            difference = _fitted(images, signals, choosing).difference(own, rival)
        except ValueError as error:
            left_out.append(f"{layer} is left out: {error}.")
            continue
        margins.append(_layer_margin(layer, difference, signals, images, (row, own, rival)))
    if not margins:
        raise RunError(f"no layer of {images.path} has a margin. {' '.join(left_out)}")
    names = images.target_classes
    return ImageMargins(
        image,
        names[own],
        names[rival],
        bool(images.wrong[row]),
        float(images.confidence[row]),
        tuple(margins),
        tuple(left_out),
        images.notes,
    )


def _row(images: JudgedImages, image: str) -> int:
    """The row of an image among those judged."""
    everyone = groups.read(images.path, "signals")["image"].to_numpy().tolist()
    position = image_position(everyone, image, images.path)
    (rows,) = np.nonzero(images.position == position)
    if not len(rows):
        raise RunError(
            f"image {image!r} of {images.path} was not read, is predicted as a class without "
            f"images, or is not among the {len(images.ids):,} images that were drawn"
        )
    return int(rows[0])


def _fitted(
    images: JudgedImages,
    signals: npt.NDArray[np.float32],
    choosing: npt.NDArray[np.bool_],
) -> GaussianClasses:
    """Gaussians of the images that choose and reach the layer."""
    used = choosing & ~np.isnan(signals[:, 0])
    return GaussianClasses.fit(signals[used], images.target[used])


def _best_other(images: JudgedImages, row: int, choosing: npt.NDArray[np.bool_]) -> int:
    """The other class under which the image's signals in the last layer it reaches are likeliest.

    Raises
    ------
    RunError
        If the image reaches no layer.
    """
    for place in reversed(range(len(images.layer_names))):
        signals = images.signals(place)
        if not np.isnan(signals[row, 0]):
            fitted = _fitted(images, signals, choosing)
            densities = fitted.log_densities(signals[row : row + 1])[0]
            others = np.where(fitted.classes == images.target[row], -np.inf, densities)
            return int(fitted.classes[others.argmax()])
    raise RunError(f"image {images.ids[row]!r} of {images.path} reaches no layer")


def _layer_margin(
    layer: str,
    difference: ClassDifference,
    signals: npt.NDArray[np.float32],
    images: JudgedImages,
    place: tuple[int, int, int],
) -> LayerMargin:
    """One layer's margin; ``place`` is the image's row, its class and the rival."""
    row, own, rival = place
    judging = ~images.choosing & (np.arange(len(signals)) != row) & ~np.isnan(signals[:, 0])
    standardised = difference.standardised(signals)
    of_own, of_rival = (standardised[judging & (images.target == c)] for c in (own, rival))
    parts = difference.contributions(signals[row : row + 1])[0]
    arbitrary = LayerVectors.of(images.layers.sel(layer=layer)).arbitrary
    usual = difference.contributions(difference.mean_a[None])[0]
    vectors = pd.DataFrame(
        {
            "singular_vector": np.arange(len(parts)),
            "vector": [f"v{i}{'*' if close else ''}" for i, close in enumerate(arbitrary)],
            "signal": signals[row],
            "mean_own": difference.mean_a,
            "mean_rival": difference.mean_b,
            "contribution": parts,
            "shift": parts - usual,
        }
    )
    return LayerMargin(
        layer,
        float(parts.sum()),
        float(standardised[row]),
        _percentiles(of_own),
        _percentiles(of_rival),
        (_share(of_own > 0) + _share(of_rival < 0)) / 2,
        vectors,
    )


def _percentiles(margins: Floats) -> tuple[float, ...]:
    if not len(margins):
        return (np.nan,) * len(PERCENTILES)
    return tuple(np.percentile(margins, PERCENTILES).tolist())


def _share(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else np.nan
