"""Exemplars of sets of a layer's vectors, asked for again and again as levels move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddp_tasks.store.cube import layer_parts
from ddp_tasks.visualization.exemplars import (
    Exemplars,
    StrongestImages,
    VectorSet,
    exemplars_of_sets,
)

#: Most bytes of a layer's signals that are held; those of a larger layer are read again.
HELD_BYTES = 1 << 26

#: Bytes of remembered exemplars above which all are forgotten.
_KNOWN_BYTES = 1 << 24

_Part = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


@dataclass
class SetExemplars:
    """The exemplars of sets of one layer's vectors, over the classes of one grouping.

    A step of p or of q leaves most equivalence classes as they are, so that only the others are
    summed anew.
    """

    path: Path
    """of the store."""
    layer: int
    """position of the layer."""
    rank: int
    """of the layer."""
    images: int
    """of the run."""
    _held: list[_Part] | None = None
    _hyperedges: bytes = b""
    _known: dict[tuple[Any, ...], tuple[npt.NDArray[Any], ...]] = field(default_factory=dict)

    def of(
        self,
        sets: Sequence[VectorSet],
        places: int,
        hyperedge: npt.NDArray[np.int64],
        edges: int,
    ) -> Exemplars:
        """As ``exemplars_of_sets`` finds them.

        Parameters
        ----------
        sets
            singular vectors with their signs, such as those of equivalence classes.
        places
            strongest images to find of each set.
        hyperedge
            the hyperedge of each target class, and last of images that could not be read; -1 for
            those that count nowhere.
        edges
            number of hyperedges.

        Raises
        ------
        DamagedStoreError
            If what is read is not as it was written.
        """
        if not sets:
            return exemplars_of_sets(lambda: iter(()), sets, places, edges)
        grouping = hyperedge.tobytes()
        if grouping != self._hyperedges or self._known_bytes() > _KNOWN_BYTES:
            self._hyperedges, self._known = grouping, {}
        keys = [(places, *one.items()) for one in sets]
        new = {k: one for k, one in zip(keys, sets, strict=True) if k not in self._known}

        def parts() -> Iterator[_Part]:
            for signals, target in self._parts():
                yield signals, hyperedge[target]

        if new:
            found = exemplars_of_sets(parts, list(new.values()), places, edges)
            arrays = [array for of in found for array in (of.image, of.signal)]
            for at, key in enumerate(new):
                self._known[key] = tuple(array[:, at] for array in arrays)
        together = zip(*(self._known[key] for key in keys), strict=True)
        overall, signal, of_class, class_signal = (np.stack(one, axis=1) for one in together)
        return Exemplars(StrongestImages(overall, signal), StrongestImages(of_class, class_signal))

    def _known_bytes(self) -> int:
        return sum(array.nbytes for arrays in self._known.values() for array in arrays)

    def _parts(self) -> Iterator[_Part]:
        """The layer's signals, block by block."""
        if self._held is not None:
            yield from self._held
        elif 4 * self.images * self.rank > HELD_BYTES:
            yield from layer_parts(self.path, self.layer, self.rank)
        else:
            self._held = list(layer_parts(self.path, self.layer, self.rank))
            yield from self._held
