"""One layer of a finished run, asked from a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from ddp_tasks.queries import ablation, controls, visualizations
from ddp_tasks.queries.gallery import Gallery, Picture
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.significance import StoredSignificance
from ddp_tasks.queries.slices import SliceFindings
from ddp_tasks.store import groups
from ddp_tasks.store.cube import layer_signals
from ddp_tasks.weights.signed_vectors import DIRECTIONS
from schemas.control_variables import MEASURES
from schemas.names import group_path
from schemas.parameters import RunError

if TYPE_CHECKING:
    import hypernetx as hnx
    import networkx as nx


class RunLayer:
    """A layer: its vectors, signals, hypergraphs, exemplars, controls.

    ``quantile``, ``percentage`` and ``direction`` are the run's own where they are not given. The
    quantile level may be any between 0 and 1: what is not stored is counted over the cube.
    """

    def __init__(
        self, stored: StoredSignificance, name: str, pictures: Callable[[], StoredPictures]
    ) -> None:
        """A layer of a run.

        Raises
        ------
        RunError
            If there is none of this name, naming the nearest.
        """
        stored.any_level(name)  # refuses a layer that is not there
        self.name = name
        self._stored = stored
        self._pictures = pictures

    def __repr__(self) -> str:
        """Name, kind, shape and rank."""
        of_layer = self._stored.layers.sel(layer=self.name)
        kind, shape = str(of_layer["kind"].item()), str(of_layer["shape"].item())
        return f"<layer {self.name}: {kind} {shape}, {self.rank} singular vectors>"

    @property
    def rank(self) -> int:
        """Number of its singular vectors."""
        return int(self._stored.layers["rank"].sel(layer=self.name))

    @property
    def vectors(self) -> pd.DataFrame:
        """Its singular values by singular vector, and which the arithmetic leaves arbitrary."""
        vectors = self._stored.any_level(self.name).vectors
        return pd.DataFrame(
            {
                "singular_value": vectors.singular_values,
                "relative_gap": vectors.relative_gaps,
                "arbitrary": vectors.arbitrary,
            },
            index=pd.RangeIndex(vectors.rank, name="singular_vector"),
        )

    def signals(self, target_class: str | None = None) -> xr.DataArray:
        """Signals of all images, or of one class's; (image, singular_vector).

        Images that could not be read or do not reach the layer are left out. The coordinates
        ``target_name`` and ``predicted_name`` are there to group by.

        Raises
        ------
        RunError
            If there is no such class.
        """
        path = self._stored.store
        try:
            signals = layer_signals(path, self.name, target_class)
        except ValueError:
            raise RunError(f"there is no class {target_class!r}") from None
        of_images = groups.read(path, "signals")[["target_name", "predicted_name"]]
        named = of_images.sel(image=signals["image"]).load()
        return signals.assign_coords(
            {name: ("image", named[name].to_numpy()) for name in ("target_name", "predicted_name")}
        )

    def table(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> pd.DataFrame:
        """A row for each class, singular vector and direction: share, interval, significant.

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        return self._stored.table(self.name, quantile, percentage, direction)

    def ranked(self, direction: str | None = None) -> pd.DataFrame:
        """The singular vectors by how well they tell the classes apart, at the run's own levels.

        Raises
        ------
        RunError
            If the direction is refused.
        """
        return self._stored.ranked(self.name, direction)

    def equivalence_classes(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> pd.DataFrame:
        """The semantic hierarchy as a table: sets of vectors and of classes, most general first.

        Returns
        -------
        columns level, singular_vectors and ``target_classes`` (lists of names), and
        greatest_singular_value

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        found = self.findings(quantile, percentage, direction)
        return pd.DataFrame(
            {
                "level": [one.level for one in found.equivalence_classes],
                "singular_vectors": [list(one.names) for one in found.equivalence_classes],
                "target_classes": [list(one.target_classes) for one in found.equivalence_classes],
                "greatest_singular_value": [
                    one.greatest_singular_value for one in found.equivalence_classes
                ],
            }
        )

    def findings(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> SliceFindings:
        """A hypergraph in numbers, why it is empty if it is, and its equivalence classes.

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        return self._stored.findings(self.name, quantile, percentage, direction)

    def hypergraph(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> hnx.Hypergraph:
        """A hypergraph of the layer's family, as HyperNetX has it: hyperedges are classes.

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        # HyperNetX takes a second to import.
        from ddp_tasks.queries.hypergraphs import stored_hypergraph

        return stored_hypergraph(self._stored, self.name, quantile, percentage, direction)[0]

    def hierarchy(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> xr.Dataset:
        """A semantic hierarchy with its exemplars, as the group ``hierarchies/LAYER``.

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        table = self._stored.at(self.name, quantile, percentage, direction)
        of_layer = self._stored.any_level(self.name)
        return of_layer.hierarchy(table, self._stored.superclasses, self._stored.run.exemplars)

    def diagram(
        self,
        quantile: float | None = None,
        percentage: float | None = None,
        direction: str | None = None,
    ) -> nx.DiGraph:
        """The diagram of a semantic hierarchy; an edge leads from the general to the specific.

        Raises
        ------
        RunError
            If a level or the direction is refused.
        """
        from ddp_tasks.hypergraphs.semantic_hierarchy import diagram

        return diagram(self.hierarchy(quantile, percentage, direction))

    def sizes(self, *percentages: float) -> xr.Dataset:
        """Sizes of the layer's hypergraphs over all stored levels and these percentages.

        Parameters
        ----------
        percentages
            ascending; by default those of the run.
        """
        return self._stored.family(self.name).sizes(
            percentages or self._stored.run.significance.all_percentages
        )

    def exemplars(self, vector: int, direction: str = DIRECTIONS[0]) -> pd.DataFrame:
        """The strongest images of a singular vector, the strongest first.

        Parameters
        ----------
        vector
            its number, from 0.
        direction
            positive: the greatest signals; negative: the least.

        Returns
        -------
        columns target_name, predicted_name, signal, by image

        Raises
        ------
        RunError
            If there is no such vector or direction.
        """
        place = {"layer": self.name, "singular_vector": vector, "direction": direction}
        self._check_vector(vector, direction)
        stored = groups.read(self._stored.store, "exemplars")[["image", "signal"]].sel(place)
        ids = stored["image"].to_numpy()
        there = ids != ""
        images = groups.read(self._stored.store, "signals")
        named = images[["target_name", "predicted_name"]].sel(image=ids[there].astype(object))
        return pd.DataFrame(
            {
                "target_name": named["target_name"].to_numpy().astype(object),
                "predicted_name": named["predicted_name"].to_numpy().astype(object),
                "signal": stored["signal"].to_numpy()[there],
            },
            index=pd.Index(ids[there].astype(object), name="image"),
        )

    def gallery(self, vector: int, direction: str = DIRECTIONS[0], most: int = 10) -> Gallery:
        """The strongest images of a singular vector as pictures.

        Parameters
        ----------
        vector, direction
            as ``exemplars`` takes them.
        most
            pictures.

        Raises
        ------
        RunError
            If there is no such vector or direction.
        """
        pictures = self._pictures()
        frame = self.exemplars(vector, direction).head(most)
        shown = [
            Picture(pictures[str(image)], f"{row['target_name']} · {row['signal']:.3g}")
            for image, row in frame.iterrows()
            if image in pictures
        ]
        mark = "⁺" if direction == DIRECTIONS[0] else "⁻"
        return Gallery(tuple(shown), f"{self.name} v{vector}{mark}: strongest images, signals")

    def optimised(self) -> xr.Dataset:
        """Optimised images of the layer with what tells how far to trust each.

        Raises
        ------
        RunError
            If there are none yet.
        """
        return visualizations.open_visualizations(self._stored.store.parent, self.name)

    def optimised_gallery(self, most: int = 12) -> Gallery:
        """Optimised images as pictures, with the excess over the best natural image.

        Raises
        ------
        RunError
            If there are none yet.
        """
        stored = self.optimised().isel(target=slice(most)).load()
        shown = []
        for i, target in enumerate(stored["target"].to_numpy().tolist()):
            excess, failed = float(stored["excess"][i]), str(stored["failed"][i].item())
            told = f"{target} · excess {excess:.2g}{' · failed' if failed else ''}"
            shown.append(Picture(stored["picture"][i].to_numpy(), told))
        return Gallery(tuple(shown), f"{self.name}: optimised images")

    def maps(self, vector: int, direction: str = DIRECTIONS[0]) -> xr.Dataset:
        """Signals at the positions of a vector's strongest images, and its strongest patches.

        Parameters
        ----------
        vector, direction
            as ``exemplars`` takes them.

        Returns
        -------
        the vector's part of the group ``projections/LAYER``

        Raises
        ------
        RunError
            If there is no such vector or direction.
        """
        self._check_vector(vector, direction)
        stored = groups.read(self._stored.store, group_path("projections", self.name))
        return stored.sel(singular_vector=vector, direction=direction).load()

    def controls(self) -> pd.DataFrame:
        """The layer's measures beside other bases, and the percentile among random rotations.

        Returns
        -------
        columns words (what is measured), value, channels, pca, rotations (mean), percentile; by
        measure
        """
        stored = controls.open_controls(self._stored.store.parent).sel(layer=self.name)
        there = controls.measures_there(stored.expand_dims("layer"))
        at = stored.sel(measure=there)
        columns: dict[str, Any] = {
            "words": [MEASURES[measure] for measure in there],
            "value": at["value"].to_numpy(),
            "channels": at["channels"].to_numpy(),
            "pca": at["pca"].to_numpy(),
            "rotations": at["rotation"].mean("draw").to_numpy(),
            "percentile": at["percentile"].to_numpy(),
        }
        return pd.DataFrame(columns, index=pd.Index(there, name="measure"))

    def removals(self) -> xr.Dataset:
        """What the removal of the layer's vectors changes: the group ``ablation/LAYER``.

        Raises
        ------
        RunError
            If nothing was removed from it.
        """
        return ablation.open_removals(self._stored.store.parent, self.name)

    def _check_vector(self, vector: int, direction: str) -> None:
        if not 0 <= vector < self.rank:
            raise RunError(f"{self.name} has no v{vector}; its vectors are v0 to v{self.rank - 1}")
        if direction not in DIRECTIONS:
            raise RunError(f"direction {direction!r} is refused; {' or '.join(DIRECTIONS)}")
