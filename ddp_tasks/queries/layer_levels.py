"""One layer of a finished run at any quantile level, p, directions and grouping of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.family import Family
from ddp_tasks.hypergraphs.semantic_hierarchy import hierarchy_dataset, semantic_hierarchy
from ddp_tasks.queries.set_exemplars import SetExemplars
from ddp_tasks.significance.any_level import LayerCounts
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import share
from ddp_tasks.significance.superclasses import (
    check_groups,
    over_superclasses,
    superclass_dataset,
)
from ddp_tasks.store import groups
from ddp_tasks.store.cube import cube_size, open_cube, rows_of_layer
from ddp_tasks.store.slabs import slabs
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors, signs
from schemas.parameters import RunError
from schemas.variables import describe

if TYPE_CHECKING:
    from ddp_tasks.hypergraphs.hypergraph import LayerHypergraph

#: Most bytes of a layer's signals that are kept in memory; those of a larger layer are read again
#: for each level, in parts of this size.
KEPT_BYTES = 1 << 27

#: Bytes of the tables that are kept of the levels asked for last.
_TABLES_BYTES = 1 << 26

#: Groups of classes by name.
Groups = Mapping[str, Sequence[str]]


class LayerLevels:
    """Any hypergraph of one layer, equal to the bit to those that a run stores.

    What is stored at a level is read from the store; any other level is counted over the cube,
    whose part of the layer is read once where it fits in memory.
    """

    def __init__(
        self, path: Path, significance: xr.Dataset, layers: xr.Dataset, layer: str
    ) -> None:
        """Open a layer; no signal is read yet.

        Parameters
        ----------
        path
            of the store.
        significance, layers
            its groups of these names.

        Raises
        ------
        RunError
            If there is no such layer, naming the nearest.
        """
        self.layer = layer
        self._path = path
        Family.of(significance, layer)  # refuses what is not there
        self._stored = significance.sel(layer=[layer])
        self._position = layers["layer"].to_numpy().tolist().index(layer)
        self.vectors = LayerVectors.of(layers.isel(layer=self._position))
        self._counts: LayerCounts | None = None
        self._tables: dict[float, xr.Dataset] = {}

    @property
    def target_classes(self) -> tuple[str, ...]:
        """Names of the run's target classes."""
        return tuple(map(str, self._stored["target_class"].to_numpy()))

    def significance(self, quantile: float, classes: Groups | None = None) -> xr.Dataset:
        """The layer's part of the group ``significance``, holding this level.

        Parameters
        ----------
        quantile
            between 0 and 1.
        classes
            groups of target classes by name; None leaves the classes as they are.

        Raises
        ------
        RunError
            If the level is out of range, or a group names a class that is not there, one twice,
            or none.
        """
        if is_level(self._stored, quantile):
            stored = self._stored["quantile"].to_numpy()
            tables = self._stored.isel(quantile=[int(np.abs(stored - quantile).argmin())])
        else:
            tables = self.counted(quantile)
        return tables if classes is None else regrouped(tables, classes)

    def counted(self, quantile: float) -> xr.Dataset:
        """As ``significance`` gives it, counted over the cube whatever is stored.

        Raises
        ------
        RunError
            If the level is out of range.
        """
        if not 0 < quantile < 1:  # NaN is refused too
            raise RunError(f"quantile level {quantile:g} is refused; between 0 and 1")
        if quantile in self._tables:
            return self._tables[quantile]
        if self._counts is None:
            self._counts = self._read()
        threshold, significant = self._counts.at(quantile)
        images = self._stored["images"].to_numpy()
        of_parts = significant.reshape(2, *images.shape, -1).swapaxes(0, 1)
        fraction = np.stack([share(n, of) for n, of in zip(of_parts, images, strict=True)])
        rank = fraction.shape[-1]
        kept = self._stored.isel(singular_vector=slice(0, rank)).drop_dims("quantile")
        tables = describe(
            kept.assign(
                threshold=(("direction", "quantile", "layer"), threshold[:, None, None]),
                fraction=(
                    ("split", "direction", "quantile", "target_class", "layer", "singular_vector"),
                    fraction[:, :, None, :, None],
                ),
            ).assign_coords(quantile=[quantile], direction=self._stored["direction"]),
            "significance",
        )
        self._tables[quantile] = tables
        while len(self._tables) > max(1, _TABLES_BYTES // fraction.nbytes):
            del self._tables[next(iter(self._tables))]
        return tables

    def at(
        self,
        quantile: float,
        percentage: float,
        directions: Sequence[str] = DIRECTIONS,
        classes: Groups | None = None,
    ) -> LayerTable:
        """One hypergraph of the layer, as a table.

        Parameters
        ----------
        quantile
            level, between 0 and 1.
        percentage
            p, above 0 and at most 100.
        directions
            of the nodes.
        classes
            groups of target classes by name, as hyperedges; None takes the classes.

        Raises
        ------
        RunError
            If the level or percentage is out of range, or the groups are refused.
        """
        significance = self.significance(quantile, classes).isel(layer=0)
        level = float(significance["quantile"].item())
        return Family(self.layer, significance).at(level, percentage, directions)

    def hypergraph(self, table: LayerTable) -> LayerHypergraph:
        """The hypergraph of such a table, with relations of classes and semantic hierarchy."""
        # HyperNetX takes a second to import, and tables do not need it.
        from ddp_tasks.hypergraphs.hypergraph import layer_hypergraph

        return layer_hypergraph(table, self.vectors)

    def hierarchy(
        self, table: LayerTable, classes: Groups | None = None, places: int = 5
    ) -> xr.Dataset:
        """The semantic hierarchy of such a table as the store keeps it, with its exemplars.

        Reads the layer's signals, once where they fit in memory.

        Parameters
        ----------
        classes
            as ``at`` was given them; images in no group count nowhere.
        places
            strongest images to keep of each equivalence class.
        """
        hierarchy = semantic_hierarchy(table.significant)
        nodes = SignedVectors(self.vectors, table.directions)
        sets = [
            signs(nodes[node] for node in np.flatnonzero(row).tolist())
            for row in hierarchy.singular_vectors
        ]
        ids = self._ids
        hyperedge = np.arange(len(self.target_classes) + 1)
        hyperedge[-1] = -1
        if classes is not None:
            of_class = {
                name: group for group, names in enumerate(classes.values()) for name in names
            }
            hyperedge[:-1] = [of_class.get(name, -1) for name in self.target_classes]
        edges = len(table.target_classes)
        found = self._exemplars.of(sets, min(places, len(ids)), hyperedge, edges)
        return hierarchy_dataset(hierarchy, nodes, table.target_classes, found, ids)

    @cached_property
    def _exemplars(self) -> SetExemplars:
        return SetExemplars(self._path, self._position, self.vectors.rank, len(self._ids))

    @cached_property
    def _ids(self) -> list[str]:
        # To open the group takes a tenth of a redraw of the explorer.
        ids: list[str] = groups.read(self._path, "signals")["image"].to_numpy().tolist()
        return ids

    def _read(self) -> LayerCounts:
        cube, images = cube_size(self._path), groups.read(self._path, "signals")
        read = images["error"].to_numpy() == ""
        classes = len(self.target_classes)
        part = self._stored["part"].to_numpy().astype(np.int64)
        cell = np.where(read, part * classes + images["target"].to_numpy(), -1)
        bytes_of_vector = 4 * len(cell)
        pieces = slabs(cube, max(1, KEPT_BYTES // bytes_of_vector), task_bytes=None)
        of_layer = [piece.vectors for piece in pieces if piece.layer == self._position]

        def columns() -> Iterator[npt.NDArray[np.float32]]:
            opened = open_cube(self._path)
            every = np.ones(len(cell), dtype=np.bool_)
            for vectors in of_layer:
                yield rows_of_layer(opened, self._position, vectors, every)

        return LayerCounts(
            columns,
            cell,
            cells=self._stored.sizes["split"] * classes,
            choosing=classes,
            keep=bytes_of_vector * self.vectors.rank <= KEPT_BYTES,
        )


def is_level(significance: xr.Dataset, quantile: float) -> bool:
    """Whether a quantile level is one of those that the run stored.

    Parameters
    ----------
    significance
        the store's group ``significance``, or the same over superclasses.
    """
    return bool((np.abs(significance["quantile"].to_numpy() - quantile) <= 1e-9).any())


def regrouped(significance: xr.Dataset, classes: Groups) -> xr.Dataset:
    """A part of the group ``significance`` with groups of classes as its target classes.

    Parameters
    ----------
    significance
        with all its dimensions.
    classes
        groups of target classes by name.

    Raises
    ------
    RunError
        If a group names a class that is not there, one twice, or none.
    """
    check_groups(classes, [str(name) for name in significance["target_class"].to_numpy()])
    return over_superclasses(significance, superclass_dataset(significance, classes))
