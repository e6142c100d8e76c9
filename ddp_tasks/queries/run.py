"""A finished run opened for questions: the one door of a notebook to its store.

Neither the model nor the images are opened, and nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ddp_tasks.queries import ablation, controls
from ddp_tasks.queries.gallery import Gallery, Picture
from ddp_tasks.queries.layer_levels import Groups
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.run_html import Shown, run_html
from ddp_tasks.queries.run_layer import RunLayer
from ddp_tasks.queries.significance import StoredSignificance, open_significance
from ddp_tasks.queries.summary import Summary, read_summary
from ddp_tasks.significance.splits import part_names
from ddp_tasks.store import groups
from ddp_tasks.store.zarr_stores import openable
from schemas.object_paths import path_of
from schemas.parameters import RunError, RunParameters
from schemas.run_files import nearest

if TYPE_CHECKING:
    from ddp_tasks.queries.compared_runs import ComparedRuns
    from ddp_tasks.queries.descriptions import Descriptions
    from ddp_tasks.queries.findings import RunFindings
    from ddp_tasks.queries.statements import Finding


class Run:
    """A finished run: its images, layers, classes and findings, by name.

    A notebook shows it as a page. ``run["fc1"]`` is a layer, ``run.grouped`` the same run over
    other groups of classes, ``run.tree`` the store as plain xarray.
    """

    def __init__(self, stored: StoredSignificance) -> None:
        self._stored = stored

    @property
    def store(self) -> Path:
        """Where its store lies."""
        return self._stored.store

    @property
    def parameters(self) -> RunParameters:
        """What it was asked to do, as recorded."""
        return self._stored.run

    @property
    def name(self) -> str:
        """Its name."""
        return self.parameters.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the target classes, or of the groups that take their place."""
        return self._stored.class_names

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, in forward order."""
        return tuple(map(str, self._stored.layers["layer"].to_numpy()))

    def __getitem__(self, layer: str) -> RunLayer:
        """A layer.

        Raises
        ------
        RunError
            If there is none of this name, naming the nearest.
        """
        return RunLayer(self._stored, layer, lambda: self.pictures)

    def __iter__(self) -> Iterator[RunLayer]:
        """The layers, in forward order."""
        return (self[name] for name in self.layer_names)

    def __len__(self) -> int:
        """Number of layers."""
        return len(self.layer_names)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.layer_names)

    def __repr__(self) -> str:
        """Images, classes, accuracy and layers in two lines."""
        told = self.summary
        return (
            f"<run {self.name}: {told.images:,} images of {told.target_classes:,} classes, "
            f"{told.accuracy:.1%} classified correctly\n"
            f" {len(self):,} layers: {', '.join(self.layer_names[:8])}"
            f"{', ...' if len(self) > 8 else ''}>"
        )

    def _repr_html_(self) -> str:
        shown = Shown(
            run=self.parameters,
            summary=self.summary,
            statements=self.statements,
            conclusion=self.conclusion,
            layers=self.layers,
            pictures=self.pictures,
        )
        return run_html(shown)

    def grouped(self, groups_of_classes: Groups) -> Run:
        """The same run over groups of its classes, in tables, hypergraphs and differences.

        Parameters
        ----------
        groups_of_classes
            names of target classes by name of their group; classes in no group count nowhere.

        Raises
        ------
        RunError
            If a group names a class that is not there, one twice, or none.
        """
        return Run(self._stored.grouped(groups_of_classes))

    @cached_property
    def summary(self) -> Summary:
        """Images, accuracy, and each layer's hypergraph in numbers, over the run's classes."""
        return read_summary(self.parameters, self.store)

    @property
    def accuracy(self) -> float:
        """Share of the images that were read which the network classifies correctly."""
        return self.summary.accuracy

    @property
    def layers(self) -> pd.DataFrame:
        """A row for each layer: its weight, and its hypergraph at its own levels in numbers."""
        rows = {
            one.layer: {
                "kind": one.kind,
                "shape": one.shape,
                "rank": one.rank,
                "quantile": one.quantile,
                "percentage": one.percentage,
                "nodes": one.nodes,
                "hyperedges": one.hyperedges,
                "equivalence_classes": one.equivalence_classes,
                "depth": one.depth,
                "best_eta_squared": one.eta_squared,
            }
            for one in self.summary.layers
        }
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
        among = controls.open_controls(self.store.parent)["percentile"]
        frame["percentile"] = among.sel(measure="eta_squared_best").to_numpy()
        return frame

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row for each image: its class, what the network chose, and which part it is in.

        Returns
        -------
        columns target_name, predicted_name, confidence, correct, part (selection, estimation or
        all) and error (why it could not be read; empty if it was), by image
        """
        stored = groups.read(self.store, "signals")
        significance = groups.read(self.store, "significance")
        text = {
            name: stored[name].to_numpy().astype(object)
            for name in ("target_name", "predicted_name", "error")
        }
        parts = np.array(part_names(significance.sizes["split"]), dtype=object)
        return pd.DataFrame(
            {
                "target_name": text["target_name"],
                "predicted_name": text["predicted_name"],
                "confidence": stored["confidence"].to_numpy(),
                "correct": text["target_name"] == text["predicted_name"],
                "part": parts[significance["part"].to_numpy()],
                "error": text["error"],
            },
            index=pd.Index(stored["image"].to_numpy().astype(object), name="image"),
        )

    @cached_property
    def pictures(self) -> StoredPictures:
        """Small copies of the images that the run shows, by image id."""
        return StoredPictures(self.store)

    def picture(self, image: str) -> Picture:
        """The stored picture of an image.

        Raises
        ------
        RunError
            If the store keeps no picture of it.
        """
        if image not in self.pictures:
            known = list(self.pictures)
            raise RunError(
                f"{self.store} keeps no picture of image {image!r}{nearest(image, known)}; it "
                f"keeps those of {len(known):,} images that it shows, such as "
                f"{', '.join(known[:3])}"
            )
        row = self.images.loc[image]
        told = row["predicted_name"]
        taken = "" if row["correct"] or not told else f", taken for {told}"
        return Picture(self.pictures[image], f"{image}: {row['target_name']}{taken}")

    def gallery(self, images: Sequence[str], title: str = "") -> Gallery:
        """The stored pictures of some images in a row.

        Raises
        ------
        RunError
            If the store keeps no picture of one of them.
        """
        return Gallery(tuple(self.picture(image) for image in images), title)

    @cached_property
    def _told(self) -> RunFindings:
        from ddp_tasks.queries.findings import read_findings

        return read_findings(self.parameters, self.store)

    @property
    def statements(self) -> tuple[Finding, ...]:
        """The statements of ``findings`` with all their numbers, exemplars and words."""
        return self._told.statements

    @property
    def findings(self) -> pd.DataFrame:
        """What the network has learned, in a few statements, over the run's classes.

        Returns
        -------
        columns layer, vector (such as v3⁺), ``target_classes`` (a list), share (the least of them),
        low (of all intervals), resamples (least share in which a class holds), percentile (among
        the best η² of random rotations), images (ids of the strongest), and sentence
        """
        return pd.DataFrame(
            [
                {
                    "layer": one.layer,
                    "vector": one.name,
                    "target_classes": [of.target_class for of in one.classes],
                    "share": min(of.share for of in one.classes),
                    "low": min(of.low for of in one.classes),
                    "resamples": one.resamples,
                    "percentile": one.percentile,
                    "images": [exemplar.image for exemplar in one.exemplars],
                    "sentence": one.sentence,
                }
                for one in self._told.statements
            ]
        )

    @property
    def conclusion(self) -> str:
        """Whether the singular vectors are more than any basis would give, in a sentence."""
        return f"{self._told.conclusion.sentence}."

    def distinguishing(
        self, a: str, b: str, layers: str = "*", direction: str | None = None
    ) -> pd.DataFrame:
        """Singular vectors that distinguish class a from class b, the surest first.

        Parameters
        ----------
        layers
            a name or glob.
        direction
            positive, negative or both; the run's own by default.

        Raises
        ------
        RunError
            If there is no such class, layer or direction, or a class has no images.
        """
        return self._stored.distinguishing(a, b, layers, direction)

    @cached_property
    def controls(self) -> xr.Dataset:
        """Measures of all layers beside those of other bases: the group ``controls``."""
        return controls.open_controls(self.store.parent)

    @property
    def ablation(self) -> xr.Dataset:
        """How removing vectors compares with removing other directions: the group ``ablated``.

        Raises
        ------
        RunError
            If nothing was removed yet.
        """
        return ablation.open_ablation(self.store.parent)

    def removed_vectors(self, layers: Sequence[str] | None = None) -> pd.DataFrame:
        """The removal of every single vector: the class that it hurts most beyond the others.

        Parameters
        ----------
        layers
            None for all from which vectors were removed.

        Raises
        ------
        RunError
            If nothing was removed yet.
        """
        return ablation.vectors_table(self.store.parent, layers)

    def described(self) -> Descriptions:
        """What each vector means, tested beside random directions; see ``ddp describe``."""
        from ddp_tasks.queries.descriptions import describe

        return describe(self.store.parent)

    def compared(self, other: Run, layer: str = "*") -> ComparedRuns:
        """What this network and another have both learned, beside chance.

        Parameters
        ----------
        layer
            name or glob of the layers to compare.

        Raises
        ------
        RunError
            If the runs cannot be compared, and why.
        """
        from ddp_tasks.queries.compared_runs import ComparedRuns
        from ddp_tasks.queries.model_comparison import compare_models

        folders = [self.store.parent, other.store.parent]
        return ComparedRuns(compare_models(folders, layer=layer))

    @property
    def tree(self) -> xr.DataTree:
        """The whole store as plain xarray opens it, with nothing of this project."""
        opened: Any = openable(self.store)
        return xr.open_datatree(opened, engine="zarr")


def open_run(folder: Path | str) -> Run:
    """Open a finished run for questions.

    Parameters
    ----------
    folder
        that the run was written to.

    Raises
    ------
    RunError
        If there is no finished run of this format in it.
    """
    return Run(open_significance(path_of(folder)))
