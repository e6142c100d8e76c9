"""Signals of some images of a layer, few enough to be held: for maps, and for images alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.explorer.opened_runs import OpenedRun
from ddp_tasks.store.cube import open_cube

#: Images of a sample at most, and bytes of signals read for them.
_MOST_IMAGES, _MOST_BYTES = 2000, 1 << 26


@dataclass(frozen=True)
class LayerSample:
    """Some images of a run, spread evenly over it, with their signals in one layer."""

    position: npt.NDArray[np.int64]
    """shape (n,); of the images in the run."""
    target: npt.NDArray[np.int64]
    """shape (n,); their classes."""
    signals: npt.NDArray[np.float32]
    """shape (n, r)."""

    def __len__(self) -> int:
        return len(self.position)

    @classmethod
    def of(cls, run: OpenedRun, layer: str) -> LayerSample:
        """Read a sample: images with a picture first, from whole shards where a layer is large."""
        images, rank = len(run.signals.ids), run.signals.layers[layer].rank
        wanted = run.signals.target >= 0
        if images * rank * 4 > _MOST_BYTES:
            wanted &= _of_shards(run, max(1, _MOST_BYTES // (4 * rank)))
        candidates = np.flatnonzero(wanted)
        if len(candidates) > _MOST_IMAGES:
            pictured = np.zeros(images, dtype=np.bool_)
            pictured[[run.position[image] for image in run.pictures]] = True
            first = _spread(candidates[pictured[candidates]], _MOST_IMAGES // 2)
            others = _spread(candidates[~pictured[candidates]], _MOST_IMAGES - len(first))
            candidates = np.sort(np.concatenate([first, others]))
            wanted = np.zeros(images, dtype=np.bool_)
            wanted[candidates] = True
        signals = run.signals.signals(layer, wanted)
        there = ~np.isnan(signals[:, 0])
        position = np.flatnonzero(wanted)[there]
        return cls(position, run.signals.target[position], signals[there])

    def nearest(
        self, position: int, signals: npt.NDArray[np.float32], most: int
    ) -> list[tuple[int, float]]:
        """The images whose signals have the greatest cosine with those of an image.

        Parameters
        ----------
        position
            of the image in the run, which is left out.
        signals
            its signals, shape (r,).

        Returns
        -------
        positions in the run, and cosines, the greatest first
        """
        lengths = np.linalg.norm(self.signals, axis=1) * np.linalg.norm(signals)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.nan_to_num(self.signals @ signals / lengths, nan=-1.0)
        cosine[self.position == position] = -2.0
        order = np.argsort(-cosine, kind="stable")[:most]
        return [(int(self.position[i]), float(cosine[i])) for i in order if cosine[i] > -2.0]


def _of_shards(run: OpenedRun, most: int) -> npt.NDArray[np.bool_]:
    """Images of whole shards, spread evenly over the run, of about so many images together."""
    shards = open_cube(run.store).shards
    count = max(1, min(len(shards), most // max(len(shards[0]), 1)))
    inside = np.zeros(len(run.signals.ids), dtype=np.bool_)
    for shard in np.linspace(0, len(shards) - 1, count).round().astype(int).tolist():
        inside[shards[shard].start : shards[shard].stop] = True
    return inside


def _spread(positions: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).round().astype(int)]
