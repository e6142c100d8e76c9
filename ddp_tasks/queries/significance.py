"""The stored significance of a finished run, opened for tables, families and differences.

Neither the model nor the images are opened, so this needs only the store. What is not stored at
a quantile level is counted over the cube.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import pandas as pd
import xarray as xr

from ddp_tasks.hypergraphs.family import BOTH, Family
from ddp_tasks.queries.layer_levels import Groups, LayerLevels, is_level, regrouped
from ddp_tasks.queries.slices import SliceFindings, SlicePlace, slice_findings
from ddp_tasks.significance.distinguishing import distinguishing, ranked_vectors
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.superclasses import check_groups, over_superclasses
from ddp_tasks.significance.tables import layer_frame
from ddp_tasks.store import groups
from ddp_tasks.weights.signed_vectors import DIRECTIONS
from schemas.object_paths import path_of
from schemas.parameters import Levels, RunError, RunParameters
from schemas.run_files import nearest, recorded_run
from schemas.variables import FORMAT_VERSION


@dataclass(frozen=True)
class StoredSignificance:
    """Class tables of a run, over its target classes or over groups of them."""

    store: Path
    run: RunParameters
    """as recorded; its levels apply where a query gives none."""
    layers: xr.Dataset
    """the store's group ``layers``, loaded."""
    significance: xr.Dataset
    """the store's group ``significance``, or the same over superclasses; read where it is used."""
    class_axis: str
    """target_class or superclass."""
    superclasses: Groups | None = None
    """classes of each superclass; None over target classes."""
    regrouped: bool = False
    """whether the superclasses were named after the run: then ``significance`` is over the target
    classes, and each layer is grouped where it is asked for."""

    def grouped(self, superclasses: Groups) -> StoredSignificance:
        """The same tables over groups of the run's target classes.

        Raises
        ------
        RunError
            If a group names a class that is not there, one twice, or none.
        """
        significance = groups.read(self.store, "significance")
        check_groups(superclasses, [str(c) for c in significance["target_class"].to_numpy()])
        return replace(
            self,
            significance=significance,
            class_axis="superclass",
            superclasses={name: tuple(classes) for name, classes in superclasses.items()},
            regrouped=True,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the target classes, or of the superclasses in their place."""
        if self.regrouped and self.superclasses is not None:
            return tuple(self.superclasses)
        return tuple(map(str, self.significance["target_class"].to_numpy()))

    def family(self, layer: str) -> Family:
        """All hypergraphs of a layer.

        Raises
        ------
        RunError
            If there is no such layer, naming the nearest.
        """
        family = Family.of(self.significance, layer)
        if self.regrouped and self.superclasses is not None:
            of_layer = self.significance.sel(layer=[layer])
            return Family.of(regrouped(of_layer, self.superclasses), layer)
        return family

    def levels(
        self, layer: str, quantile: float | None = None, percentage: float | None = None
    ) -> Levels:
        """Quantile level and percentage as given, else the run's own."""
        own = self.run.significance.levels(layer)
        return Levels(
            own.quantile if quantile is None else quantile,
            own.percentage if percentage is None else percentage,
        )

    @property
    def split(self) -> bool:
        """Whether fractions are told on other images than those that chose."""
        return self.significance.sizes["split"] > 1

    def directions(self, direction: str | None = None) -> tuple[str, ...]:
        """Directions of the nodes: positive, negative or both as given, else the run's own.

        Raises
        ------
        RunError
            If it is none of these.
        """
        if direction is None:
            return tuple(self.run.significance.directions)
        if direction == BOTH:
            return DIRECTIONS
        if direction not in DIRECTIONS:
            raise RunError(
                f"direction {direction!r} is not stored; stored: {', '.join(DIRECTIONS)}, or {BOTH}"
            )
        return (direction,)

    def at(
        self,
        layer: str,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> LayerTable:
        """One hypergraph of a layer's family, as a table.

        A quantile level that is not stored is counted over the cube.

        Raises
        ------
        RunError
            If the layer or direction is not stored, or a level is out of range.
        """
        levels = self.levels(layer, quantile, percentage)
        of_layer = Family.of(self._at_level(layer, levels.quantile), layer)
        return of_layer.at(*levels, self.directions(direction))

    def _at_level(self, layer: str, quantile: float) -> xr.Dataset:
        """The significance of a layer, which holds a quantile level."""
        Family.of(self.significance, layer)  # refuses a layer that is not there
        if is_level(self.significance, quantile) and not self.regrouped:
            return self.significance
        return self.any_level(layer).significance(quantile, self.superclasses)

    def any_level(self, layer: str) -> LayerLevels:
        """A layer for many questions at any level; the one asked for last is kept.

        Raises
        ------
        RunError
            If there is no such layer, naming the nearest.
        """
        if layer not in self._opened:
            self._opened.clear()
            # The significance over superclasses lacks what counting needs.
            significance = groups.read(self.store, "significance")
            self._opened[layer] = LayerLevels(self.store, significance, self.layers, layer)
        return self._opened[layer]

    @cached_property
    def _opened(self) -> dict[str, LayerLevels]:
        return {}

    def place(
        self,
        layer: str,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> SlicePlace:
        """Where in its family a hypergraph is, and why it is empty.

        Raises
        ------
        RunError
            If the layer or direction is not stored, or a level is out of range.
        """
        return SlicePlace.of(self.at(layer, quantile, percentage, direction))

    def findings(
        self,
        layer: str,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> SliceFindings:
        """A hypergraph of a layer's family in numbers, and its equivalence classes in order.

        Raises
        ------
        RunError
            If the layer or direction is not stored, or a level is out of range.
        """
        table = self.at(layer, quantile, percentage, direction)
        values = self.layers["singular_value"].sel(layer=layer).to_numpy()
        return slice_findings(table, values, self.class_axis)

    def table(
        self,
        layer: str,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> pd.DataFrame:
        """The table of one layer, as ``tables.layer_frame`` returns it.

        Over superclasses the first column is called superclass.

        Raises
        ------
        RunError
            If the layer or direction is not stored, or a level is out of range.
        """
        self.at(layer, quantile, percentage, direction)  # refuses what is out of range
        levels = self.levels(layer, quantile, percentage)
        confidence = self.run.significance.confidence
        frame = layer_frame(
            self._at_level(layer, levels.quantile),
            self.layers,
            layer,
            *levels,
            directions=self.directions(direction),
            confidence=confidence,
        )
        return frame.rename(columns={"target_class": self.class_axis})

    def ranked(self, layer: str, direction: str | None = None) -> pd.DataFrame:
        """The layer's singular vectors, most discriminating first, at the run's own levels.

        Raises
        ------
        RunError
            If there is no such layer, naming the nearest.
        """
        Family.of(self.significance, layer)  # refuses a layer that is not there
        significance = self._at_level(layer, self.levels(layer).quantile)
        return ranked_vectors(
            significance, self.layers, layer, self.levels, self.directions(direction)
        )

    def distinguishing(
        self, a: str, b: str, layers: str = "*", direction: str | None = None
    ) -> pd.DataFrame:
        """Singular vectors that distinguish class a from class b, at each layer's own levels.

        Parameters
        ----------
        layers
            a name or glob.

        Raises
        ------
        RunError
            If there is no such class, layer or direction, or a class has no images.
        """
        classes = self.class_names
        for name in (a, b):
            if name not in classes:
                raise RunError(
                    f"there is no class {name!r}{nearest(name, classes)}; classes: "
                    f"{', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
                )
        if a == b:
            raise RunError(f"{a!r} is given twice; name two classes")
        known = [str(name) for name in self.layers["layer"].to_numpy()]
        chosen = [name for name in known if fnmatchcase(name, layers)]
        if not chosen:
            raise RunError(
                f"{layers!r} matches no layer{nearest(layers, known)}; layers: {', '.join(known)}"
            )
        significance = self.significance
        if self.regrouped:
            at = (self._at_level(name, self.levels(name).quantile) for name in chosen)
            significance = xr.concat(list(at), dim="layer", data_vars="minimal", join="outer")
        try:
            return distinguishing(
                significance,
                self.layers,
                chosen,
                (a, b),
                self.levels,
                directions=self.directions(direction),
                confidence=self.run.significance.confidence,
            )
        except ValueError as error:
            raise RunError(str(error)) from None


def open_significance(folder: Path, superclasses: bool = False) -> StoredSignificance:
    """Open the class tables of a finished run.

    Parameters
    ----------
    folder
        that the run was written to.
    superclasses
        over the run's groups of classes instead of its classes.

    Raises
    ------
    RunError
        If there is no store of this format, or it has no groups of classes.
    """
    path = path_of(folder).expanduser() / "store.zarr"
    attributes = groups.root_attributes(path)
    if attributes["format_version"] != str(FORMAT_VERSION):
        raise RunError(
            f"{path} has format version {attributes['format_version']}, this is {FORMAT_VERSION}"
        )
    for group in ("significance", *(["superclasses"] if superclasses else [])):
        if not groups.is_marked(path, group):
            why = "the run is not finished"
            if group == "superclasses":
                why = "the run file names none under significance.superclasses"
            raise RunError(f"{path} holds no {group}: {why}")
    run = recorded_run(attributes["run_parameters"], source=str(path))
    significance = groups.read(path, "significance")
    named: dict[str, tuple[str, ...]] | None = None
    if superclasses:
        over = groups.read(path, "superclasses")
        classes = over["target_class"].to_numpy().astype(object)
        named = {
            str(name): tuple(map(str, classes[row]))
            for name, row in zip(
                over["superclass"].to_numpy(), over["member"].to_numpy(), strict=True
            )
        }
        significance = over_superclasses(significance, over)
    return StoredSignificance(
        store=path,
        run=run,
        layers=groups.read(path, "layers").load(),
        significance=significance,
        class_axis="superclass" if superclasses else "target_class",
        superclasses=named,
    )
