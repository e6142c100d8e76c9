"""One layer of a run at the levels, directions and groups of classes that a view asks for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from ddp_tasks.explorer.background import Background
from ddp_tasks.explorer.class_groups import Groups
from ddp_tasks.explorer.layer_samples import LayerSample
from ddp_tasks.explorer.opened_runs import OpenedRun
from ddp_tasks.explorer.view_state import View
from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.semantic_hierarchy import number_of_levels
from ddp_tasks.hypergraphs.sizes import Sizes, sizes
from ddp_tasks.queries.layer_levels import KEPT_BYTES, LayerLevels, is_level
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.signed_vectors import SignedVector, SignedVectors
from schemas.parameters import Levels
from schemas.run_error import RunError
from schemas.run_files import nearest

#: Slices, and samples of layers, that are kept of those asked for last.
_KEPT, _SAMPLES_KEPT = 6, 2
#: Bytes of their tables at most; the last two are kept however large.
_KEPT_TABLES = 1 << 27


class StillCountingError(Exception):
    """A level is being counted; whoever asks again later gets it."""


@dataclass(frozen=True)
class Slice:
    """A layer's hypergraph as it is shown, with what belongs to it."""

    run: OpenedRun
    layer: str
    own: bool
    """whether levels, directions and classes are those of the run."""
    groups: Groups | None
    levels: LayerLevels
    table: LayerTable

    @cached_property
    def nodes(self) -> SignedVectors:
        """All nodes that the layer may have."""
        return SignedVectors(self.levels.vectors, self.table.directions)

    @cached_property
    def hierarchy(self) -> xr.Dataset:
        """Its semantic hierarchy with exemplars: the stored one where that is meant."""
        if self.own and (stored := self.run.of_layer("hierarchies", self.layer)) is not None:
            return stored.load()
        if signal_bytes(self.run, self.layer) > KEPT_BYTES:
            # What draws is loaded beside the first reading, and not before it.
            from ddp_tasks.explorer.quick_hierarchy import quick_hierarchy

            return quick_hierarchy(self.run, self.nodes, self.table, self.groups)
        return self.levels.hierarchy(self.table, self.groups)

    @cached_property
    def sizes(self) -> Sizes:
        """Sizes of its hypergraph, and of its semantic hierarchy."""
        significant = self.table.significant
        if self.empty:
            return sizes(significant)
        return Sizes(
            nodes=int(significant.any(axis=0).sum()),
            hyperedges=int(significant.any(axis=1).sum()),
            incidences=int(significant.sum()),
            equivalence_classes=self.hierarchy.sizes["equivalence_class"],
            depth=number_of_levels(self.hierarchy["level"].to_numpy()),
        )

    @cached_property
    def stability(self) -> xr.Dataset | None:
        """In how many resamples what is shown holds; at the run's own levels alone."""
        return self.run.of_layer("stability", self.layer) if self.own else None

    @property
    def empty(self) -> str:
        """Why the hypergraph is empty and what would fill it; empty where it is not."""
        return why_empty(self.table)

    def node(self, member: SignedVector) -> int | None:
        """Position of a node; None where its direction or vector is no node here."""
        if member.direction not in self.table.directions:
            return None
        place = member.vector * len(self.table.directions)
        node = place + self.table.directions.index(member.direction)
        return node if node < self.table.significant.shape[1] else None

    def classes_of(self, node: int) -> list[str]:
        """Classes, or groups of them, that a node is significant for."""
        of_node = np.flatnonzero(self.table.significant[:, node])
        return [self.table.target_classes[c] for c in of_node]


def _but_p(key: tuple[object, ...]) -> tuple[object, ...]:
    """What two slices of one table have in common."""
    return key[:3] + key[4:]


def signal_bytes(run: OpenedRun, layer: str) -> int:
    """Bytes of all signals of a layer."""
    return 4 * len(run.signals.ids) * run.signals.layers[layer].rank


# Bokeh's server writes out what its handlers are given, for a log: without a short form that is
# every image of the runs, which takes seconds.
@dataclass(repr=False)
class Slices:
    """Slices that were looked at last, for all who look at the same runs."""

    runs: list[OpenedRun]
    background: Background = field(default_factory=Background)
    _samples: OrderedDict[tuple[int, str], LayerSample] = field(default_factory=OrderedDict)
    _kept: OrderedDict[tuple[object, ...], Slice] = field(default_factory=OrderedDict)
    _reading: threading.RLock = field(default_factory=threading.RLock)

    def prepare(self) -> None:
        """Read what is shown first beside the server; who asks meanwhile waits for it."""
        self.background.result("first", self._read_first)

    def _read_first(self) -> Sizes:
        with self._reading:
            shown = self.of_view(View())
            if not shown.empty:
                shown.table.most_discriminating()
            return shown.sizes

    def run_of(self, number: str) -> OpenedRun:
        """One of the runs, by its number in an address.

        Raises
        ------
        RunError
            If there is no such run.
        """
        for run in self.runs:
            if str(run.number) == number:
                return run
        raise RunError(f"there is no run {number!r}; runs: 1{' and 2' * (len(self.runs) > 1)}")

    def _bytes(self) -> int:
        """Bytes of the tables that are kept."""
        # Slices that differ in p alone share them.
        tables = {id(kept.table.fraction): kept.table for kept in self._kept.values()}
        return sum(one.fraction.nbytes + one.selection_fraction.nbytes for one in tables.values())

    def _check_counted(self, run: OpenedRun, layer: str, quantile: float) -> None:
        """Have a level that takes long to count counted beside the server.

        Raises
        ------
        StillCountingError
            Until it is.
        """
        stored = run.signals.stored.significance
        size = signal_bytes(run, layer)
        if size <= KEPT_BYTES or is_level(stored, quantile) or not 0 < quantile < 1:
            return
        key = ("level", run.number, layer, quantile)
        if self.background.result(key, lambda: run.levels(layer).counted(quantile)) is None:
            raise StillCountingError(
                f"Level {quantile:g} of {layer} is being counted over {size / 1e9:.1f} GB …"
            )

    def sample(self, run: OpenedRun, layer: str) -> LayerSample:
        """Some images of a layer; those of the last two layers are kept."""
        key = (run.number, layer)
        if key not in self._samples:
            self._samples[key] = LayerSample.of(run, layer)
            while len(self._samples) > _SAMPLES_KEPT:
                self._samples.popitem(last=False)
        self._samples.move_to_end(key)
        return self._samples[key]

    def of_view(self, view: View) -> Slice:
        """The slice that a view shows.

        Raises
        ------
        RunError
            If there is no such run or layer, or levels, direction or groups are refused.
        """
        return self.of_layer(view, view.run, view.layer)

    def beside(self, view: View) -> Slice | None:
        """The slice that stands beside it, at the same choices; None where there is none.

        Raises
        ------
        RunError
            As ``of_view``; and if the groups name classes that the other run does not have.
        """
        if not view.beside:
            return None
        number, _, layer = view.beside.partition("/")
        return self.of_layer(view, number, layer)

    def of_layer(self, view: View, number: str, layer: str) -> Slice:
        """A layer at the choices of a view; without a name, the run's last."""
        run = self.run_of(number)
        layer = layer or run.layers[-1]
        if layer not in run.layers:
            raise RunError(f"there is no layer {layer!r}{nearest(layer, run.layers)} in {run.name}")
        significance = run.signals.run.significance
        plain = significance.levels(layer)
        quantile, percentage = view.quantile(), view.percentage()
        levels = Levels(
            plain.quantile if quantile is None else quantile,
            plain.percentage if percentage is None else percentage,
        )
        directions = view.directions(run.signals.directions)
        groups = view.class_groups(run.target_classes)
        key = (run.number, layer, *levels, directions, view.groups)
        with self._reading:
            if key not in self._kept:
                self._check_counted(run, layer, levels.quantile)
                own = levels == plain and directions == run.signals.directions and groups is None
                opened = run.levels(layer)
                table = self._moved(key, levels.percentage)
                if table is None:
                    table = opened.at(*levels, directions, groups)
                self._kept[key] = Slice(run, layer, own, groups, opened, table)
                self._forget()
            self._kept.move_to_end(key)
            return self._kept[key]

    def _moved(self, key: tuple[object, ...], percentage: float) -> LayerTable | None:
        """The table of a slice from that of another that differs in p alone."""
        for at, kept in self._kept.items():
            if _but_p(at) == _but_p(key):
                return kept.table.at_percentage(percentage)
        return None

    def _forget(self) -> None:
        """Drop slices that were not looked at for long, all but the last two."""
        while len(self._kept) > _KEPT or (len(self._kept) > 2 and self._bytes() > _KEPT_TABLES):
            self._kept.popitem(last=False)
