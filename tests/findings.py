"""Findings of a small made-up run, built from a cube with the project's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import xarray as xr

from ddp_tasks.controls.basis_measures import Asked, class_pairs
from ddp_tasks.controls.layer_controls import Drawn, layer_controls
from ddp_tasks.controls.layer_images import LayerImages
from ddp_tasks.figures import layer_figures
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.hypergraphs.family import Family, family_dataset
from ddp_tasks.hypergraphs.hypergraph import layer_hypergraph
from ddp_tasks.hypergraphs.semantic_hierarchy import hierarchy_dataset
from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.networks import decomposition
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.queries.confused_classes import most_confused
from ddp_tasks.queries.controls import best_of_rotations
from ddp_tasks.queries.findings import RunFindings, read_findings
from ddp_tasks.queries.summary import Summary, summarise
from ddp_tasks.report import fragments, layer_section, run_page
from ddp_tasks.report.layer_section import LayerFindings
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significance_dataset
from ddp_tasks.significance.stability import layer_stability
from ddp_tasks.store import groups
from ddp_tasks.visualization import exemplars
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors, signs
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import RunParameters

_ATTRIBUTES = {
    "format_version": "6",
    "run_parameters": '{"name": "small"}',
    "sign_convention": "u_i is positive",
    "created": "2026-01-01T00:00:00+00:00",
    "model_digest": "ab",
    "weights": "",
    "images_digest": "cd",
    "software_versions": '{"torch": "2"}',
}


class Pictures:
    """Grey uint8 pictures (1, 6, 6) of so many classes, one after the other."""

    def __init__(self, classes: int = 4, images: int = 40) -> None:
        self.classes = tuple(f"{i} - a rather long name of class <{i}>" for i in range(classes))
        self.targets = [i % classes for i in range(images)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int):
        return torch.full((1, 6, 6), 5 * index % 255, dtype=torch.uint8), self.targets[index]


@dataclass(frozen=True)
class Made:
    """The groups of a store, and what a report shows of them."""

    run: RunParameters
    summary: Summary
    layers: xr.Dataset
    signals: xr.Dataset
    significance: xr.Dataset
    family: xr.Dataset
    stability: dict[str, xr.Dataset]
    exemplars: xr.Dataset
    hypergraphs: dict[str, xr.Dataset]
    hierarchies: dict[str, xr.Dataset]
    images: ImageSet
    controls: xr.Dataset

    def of_page(self) -> run_page.Findings:
        return run_page.Findings(
            run=self.run,
            summary=self.summary,
            attributes=_ATTRIBUTES,
            not_analysed={"norm": "BatchNorm2d is <no> linear layer"},
            directions=("positive",),
            told=self.told(),
            confused=most_confused(self.signals),
            images=self.images,
            pictures=self.pictures,
            made_of="0123abcd",
            controls=self.controls,
        )

    def told(self) -> RunFindings:
        """The statements of the first screen."""
        with TemporaryDirectory() as folder:
            self.write(Path(folder, "store.zarr"))
            return read_findings(self.run, Path(folder, "store.zarr"))

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """Of all images, by id."""
        return {image: self.images.picture(at) for at, image in enumerate(self.images.ids)}

    def cube_of(self, layer: str) -> np.ndarray:
        """Signals of one layer, shape (image, singular vector)."""
        return self.signals["signal"].sel(layer=layer).to_numpy()

    def of_layer(self, layer: str) -> LayerFindings:
        levels = self.run.significance
        (summary,) = [one for one in self.summary.layers if one.layer == layer]
        own = levels.levels(layer)
        return LayerFindings(
            levels=levels,
            summary=summary,
            layer=LayerVectors.of(self.layers.sel(layer=layer)),
            signals=layer_figures.signal_counts(self.cube_of(layer), self.signals.sizes["image"]),
            table=LayerTable.of(self.significance.sel(layer=layer), *own, DIRECTIONS[:1]),
            family=self.family,
            highest_level=Family.of(self.significance, layer).highest_level(
                own.percentage, DIRECTIONS[:1]
            ),
            stability=self.stability[layer],
            exemplars=self.exemplars,
            hypergraph=self.hypergraphs[layer],
            hierarchy=self.hierarchies[layer],
            images=self.images,
            rotations=best_of_rotations(self.controls, layer),
            eta_squared_of_signals=self.significance["eta_squared_of_signals"]
            .sel(layer=layer)
            .isel(split=-1)
            .to_numpy(),
            searched=int(self.layers["rank"].sum()),
        )

    def write(self, path: Path) -> None:
        """The groups that questions to a finished run read, as a store."""
        images = self.signals.sizes["image"]
        names = self.signals["target_class"].to_numpy()[self.signals["target"].to_numpy()]
        signals = self.signals.assign(
            target_name=("image", names),
            predicted_name=("image", names),
            dataset_index=("image", np.arange(images)),
            content_size=("image", np.full(images, -1)),
            content_digest=("image", np.zeros(images, dtype=np.uint64)),
            checksum=(
                ("shard", "layer", "chunk"),
                np.zeros((1, len(self.layers["layer"]), 1), dtype=np.uint32),
            ),
            complete=("shard", np.ones(1, dtype=np.uint8)),
        )
        groups.write(path, "layers", self.layers)
        groups.write(path, "signals", signals)
        groups.write(path, "significance", self.significance)
        groups.write(path, "exemplars", self.exemplars)
        groups.write(path, "controls", self.controls)
        for name, stored in self.stability.items():
            groups.write(path, f"stability/{name}", stored)

    def page(self) -> str:
        """The report whole."""
        anchors = fragments.anchors(self.summary)
        sections = {
            layer: layer_section.drawn(self.of_layer(layer), anchor, Thumbnails(self.pictures))
            for layer, anchor in anchors.items()
        }
        return "".join(run_page.pieces(self.of_page(), sections))


def findings(strong: np.ndarray, images: int = 40) -> Made:
    """Findings whose significant vectors are those that ``strong`` (layer, class, vector) marks.

    Signals lie between 1 and 2 where strong and between -1 and 0 elsewhere, and each layer's
    quantile level is the share of signals that are not strong, so q lies between the two.
    """
    layers, classes, vectors = strong.shape
    names = [f"layer{i}" for i in range(layers)]
    weak = 1 - strong.mean(axis=(1, 2))
    levels = {
        n: {"quantile": float(w) if w < 1 else 0.99} for n, w in zip(names, weak, strict=True)
    }
    run = RunParameters.model_validate(
        {
            "name": "small",
            "model": {"factory": "toy_networks:InPlaceNetwork"},
            "images": {
                "factory": "findings:Pictures",
                "kwargs": {"classes": classes, "images": images},
                "transform": {},
            },
            "significance": {
                "percentage": 75,
                "layers": levels,
                "directions": ["positive"],
                "split": None,
            },
        }
    )
    image_set = open_images(run.images)
    # Two equal singular values: the first two vectors are arbitrary.
    weight = torch.diag(torch.tensor([9.0, 9.0, *range(vectors, 2, -1)])[:vectors])
    svd = {name: decompose(weight.double()) for name in names}
    linear = tuple(_linear(n, tuple(weight.shape)) for n in names)
    of_layers = decomposition.layers_dataset(linear, svd)
    noise = np.random.default_rng(0).uniform(-1, 0, (images, layers, vectors))
    cube = np.where(strong[:, image_set.target].transpose(1, 0, 2), 2 + noise, noise)
    cube = cube.astype(np.float32)

    def parts():
        return [(cube[i : i + 7], image_set.target[i : i + 7]) for i in range(0, images, 7)]

    signals = image_set.described().assign_coords(decomposition.layer_coordinates(linear, vectors))
    signals = signals.assign(
        signal=(("image", "layer", "singular_vector"), cube),
        predicted=("image", image_set.target),
        confidence=("image", np.ones(images, dtype=np.float32)),
        error=("image", np.full(images, "", dtype=object)),
    )
    target_classes = list(image_set.target_classes)
    tables = significance_dataset(parts, of_layers, target_classes, run.significance.quantiles)
    strongest = [
        exemplars.layer_exemplars(
            lambda i=i: [(signals[:, i], target) for signals, target in parts()], 5, classes
        )
        for i in range(layers)
    ]
    vectors = {name: LayerVectors.of(of_layers.sel(layer=name)) for name in names}
    built = {
        name: layer_hypergraph(
            LayerTable.of(tables.sel(layer=name), *run.significance.levels(name), DIRECTIONS[:1]),
            vectors[name],
        )
        for name in names
    }
    hierarchies = {
        name: _hierarchy(built[name].hierarchy, vectors[name], cube[:, i], image_set)
        for i, name in enumerate(names)
    }
    family = family_dataset(tables, run.significance.all_percentages)
    return Made(
        run=run,
        summary=summarise(run, of_layers, signals, tables, family),
        layers=of_layers,
        signals=signals,
        significance=tables,
        family=family,
        stability={
            name: layer_stability(
                lambda i=i: [(cube[:, i], image_set.target)],
                tables.sel(layer=name),
                hierarchies[name],
                run.significance.levels(name),
                resamples=run.significance.resamples,
                sample_sizes=[3],
            )
            for i, name in enumerate(names)
        },
        exemplars=_exemplars(of_layers, target_classes, strongest, image_set.ids),
        hypergraphs={name: found.relations for name, found in built.items()},
        hierarchies=hierarchies,
        images=image_set,
        controls=xr.concat(
            [
                _controls(name, cube[:, i], svd[name].U.numpy(), image_set, run)
                for i, name in enumerate(names)
            ],
            dim="layer",
        ).assign_attrs(seed=0, rotations=20, permutations=20),
    )


def _linear(name, shape):
    return LinearLayer(name=name, module=name, call=0, kind="Linear", shape=shape, groups=1)


def _exemplars(layers, target_classes, strongest, ids) -> xr.Dataset:
    empty = exemplars.exemplars_template(layers, 5, target_classes)
    arrays = {
        "image": [exemplars.image_ids(one.overall.image, ids) for one in strongest],
        "signal": [one.overall.signal for one in strongest],
        "class_image": [one.of_class.image for one in strongest],
        "class_signal": [one.of_class.signal for one in strongest],
    }
    return empty.assign(
        {
            name: (empty[name].dims, np.stack(of_layers, axis=1))
            for name, of_layers in arrays.items()
        }
    )


def _hierarchy(hierarchy, vectors, signals, image_set) -> xr.Dataset:
    names, nodes = image_set.target_classes, SignedVectors(vectors, DIRECTIONS[:1])
    sets = [
        signs(nodes[i] for i in np.flatnonzero(row).tolist()) for row in hierarchy.singular_vectors
    ]
    best = exemplars.exemplars_of_sets(lambda: [(signals, image_set.target)], sets, 5, len(names))
    return hierarchy_dataset(hierarchy, nodes, names, best, image_set.ids)


def _controls(name, signals, U, image_set, run) -> xr.Dataset:
    whole = np.zeros(len(signals), dtype=np.int8)
    classes = len(image_set.target_classes)
    images = LayerImages.of(image_set.target, whole, whole == 0, classes)
    asked = Asked(
        images=images,
        quantile=run.significance.levels(name).quantile,
        percentage=run.significance.percentage,
        directions=DIRECTIONS[:1],
        groups=np.zeros((0, classes), dtype=bool),
        pairs=class_pairs(images.images[-1], 10, np.random.default_rng(0)),
        confidence=0.95,
    )
    return layer_controls(name, signals, U, asked, Drawn(20, 20, (), 0))


def nested(classes: int = 4, vectors: int = 6) -> np.ndarray:
    """One layer: v0 for all classes, then nested and crossing sets, the last for none."""
    strong = np.zeros((1, classes, vectors), dtype=bool)
    strong[0, :, 0] = True
    strong[0, :3, 1] = strong[0, :3, 2] = True
    strong[0, 1:, 3] = True
    strong[0, 1:2, 4] = True
    return strong


def nothing(classes: int = 4, vectors: int = 6) -> np.ndarray:
    """One layer without any strong signal."""
    return np.zeros((1, classes, vectors), dtype=bool)


def with_own_classes(classes: int, vectors: int) -> Made:
    """One layer in which every class and every vector has a signature of its own."""
    strong = np.zeros((1, classes, vectors), dtype=bool)
    vector, bit = np.divmod(np.arange(vectors * 2), 2)
    strong[0, (vector + bit * (1 + vector // classes)) % classes, vector] = True
    return findings(strong, images=2 * classes)
