"""The parameters of a run: what may be asked for, and what is refused before work starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schemas.control_parameters import ControlParameters
from schemas.object_paths import is_address
from schemas.paths import expanded
from schemas.plain_values import plain
from schemas.run_error import RunError as RunError  # noqa: PLC0414 - part of this module
from schemas.section import Positive, Section
from schemas.shown import invisible, shown
from schemas.visualization_parameters import VisualizationParameters

#: Quantile levels whose significance every run computes; the run's own levels join them.
GRID = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)

#: Percentages p over which every run maps the family of hypergraphs; the run's own join them.
PERCENTAGES = (50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 100.0)

#: Names of weights in torchvision: DEFAULT, IMAGENET1K_V1, ResNet18_Weights.DEFAULT.
_TORCHVISION_NAME = re.compile(r"\w+(\.[A-Z][A-Z0-9_]*)?")

Matrization = Literal["unfolded", "toeplitz", "slices", "channels"]

#: The matrizations of figure 4, as the store names them. Of the matrices of kernels, slices are the
#: customary ones, and channels are those of the paper's wording.
MATRIZATIONS: tuple[Matrization, ...] = ("unfolded", "toeplitz", "slices", "channels")

#: Signals as they are, and their negatives.
Direction = Literal["positive", "negative"]

_CHEAP: tuple[Matrization, ...] = ("unfolded", "slices", "channels")

Quantile = Annotated[float, Field(gt=0, lt=1)]
Percentage = Annotated[float, Field(gt=0, le=100)]
Side = Annotated[int, Field(gt=0, le=2**14)]
Workers = Annotated[int, Field(gt=0, le=10**6)]


def _factory_file(factory: str) -> str:
    expanded(factory.rpartition(":")[0])
    return factory


def _path(text: str) -> str:
    expanded(text)
    return text


def _cluster(text: str) -> str:
    return text if "://" in text else _path(text)


def _title(text: str) -> str:
    if any(invisible(character) for character in text):
        raise ValueError(f"{shown(repr(text))} holds invisible characters; leave them out")
    return text


Factory = Annotated[
    str,
    Field(pattern=r"^[^:\s]+(\.py)?:[A-Za-z_][A-Za-z0-9_.]*$", max_length=4000),
    AfterValidator(_factory_file),
]
File = Annotated[str, AfterValidator(_path)]

#: A word, a scheduler's address or a file.
Cluster = Annotated[str, AfterValidator(_cluster)]
Kwargs = Annotated[dict[str, Any], AfterValidator(plain)]
Title = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_title)]
#: Quantile levels, percentages or sample sizes: each takes a pass over tables, if a short one.
Several = Field(max_length=1000)


class TransformParameters(Section):
    """From a picture to the network's input tensor: resize, crop, scale to [0, 1], standardise."""

    resize: Side | None = Field(None, description="shorter side in pixels after resizing")
    crop: Side | None = Field(None, description="side in pixels of the central square kept")
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="how pixels are interpolated in resizing"
    )
    mean: list[float] | None = Field(
        None, description="subtracted; one number for each channel, or one for all"
    )
    std: list[Annotated[float, Field(gt=0)]] | None = Field(
        None, description="divided by; one number for each channel, or one for all"
    )

    @model_validator(mode="after")
    def _mean_and_std_agree(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together or not at all")
        if self.mean is None or self.std is None:
            return self
        if not self.mean or not self.std:
            raise ValueError("mean and std are empty; give one number, or one for each channel")
        if len(self.mean) != len(self.std) and 1 not in (len(self.mean), len(self.std)):
            raise ValueError(
                f"mean has {len(self.mean)} channels and std has {len(self.std)}; "
                "both must have as many, or one of them one number for all channels"
            )
        return self

    @model_serializer(mode="wrap")
    def _bilinear_unsaid(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Left out where it is the default: stores made before there was a choice have no key."""
        dumped: dict[str, Any] = serialized(self)
        if self.interpolation == "bilinear":
            dumped.pop("interpolation", None)
        return dumped

    @property
    def channels(self) -> int:
        """Number of channels that mean and std are given for: 1 if one is for all, 0 for none."""
        return max(len(self.mean or ()), len(self.std or ()))


class ItemKeys(Section):
    """Which entries of a data set's items are picture and label."""

    image: str | int = Field(description="key or position of the picture")
    label: str | int = Field(description="key or position of the label")


class ImageParameters(Section):
    """A labelled image set: any map-style dataset of (image, label)."""

    factory: Factory = Field(
        description="what gives the data set, such as torchvision.datasets:CIFAR10: "
        "module:callable or path/to/file.py:callable"
    )
    kwargs: Kwargs = Field(
        default_factory=dict,
        description="passed to the factory, such as the folder of the pictures",
    )
    transform: TransformParameters | None = Field(
        None, description="null leaves float tensors (c, m, n) as the dataset yields them"
    )
    # Not `keys`: dict(), which Prefect calls, takes an object with that attribute for a mapping.
    item_keys: ItemKeys | None = Field(
        None,
        alias="keys",
        description="entries of an item that are picture and label; null takes the first two of a "
        "pair, and of a mapping image, img or pixel_values and label, labels or target",
    )
    per_class: Positive | None = Field(
        None, description="the first N images of each class; null takes all"
    )
    unreadable: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01, description="share of the images that may be unreadable before the run stops"
    )

    def training_set(self, training: TrainingParameters) -> ImageParameters:
        """All images of the set that the network is trained on, transformed like these."""
        kwargs = {**self.kwargs, **training.kwargs}
        return self.model_copy(update={"kwargs": kwargs, "per_class": None})


class TrainingParameters(Section):
    """Training as part of the run, instead of reading weights."""

    kwargs: Kwargs = Field(
        default_factory=dict,
        description="keyword arguments that turn the run's image factory into the training set's",
    )
    epochs: Positive = Field(5, description="passes over the training set")
    batch_size: Positive = Field(64, description="images in one step of the training")
    learning_rate: Annotated[float, Field(gt=0, le=1e6)] = Field(
        1e-3, description="step size of Adam"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="seed of the first weights and of the order of the images"
    )


class ModelParameters(Section):
    """A trained image classifier."""

    factory: Factory = Field(
        description="what gives the network, such as torchvision.models:resnet18: "
        "module:callable or path/to/file.py:callable"
    )
    kwargs: Kwargs = Field(
        default_factory=dict, description="passed to the factory, such as the number of classes"
    )
    weights: File | None = Field(
        None, description="a checkpoint's file, a torchvision weights name, or null"
    )
    entry: str | None = Field(
        None,
        description="dotted path of the weights in a checkpoint that holds several, such as "
        "state_dict_ema",
    )
    output: str | int | None = Field(
        None,
        description="where the class scores are in the network's output: a name or a position, "
        "or several joined by dots; null if only one part can be",
    )
    training: TrainingParameters | None = Field(
        None, description="train the model instead of reading weights"
    )
    accuracy: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None,
        description="test accuracy in percent that is stated for the network; the run warns if "
        "its own is far below",
    )

    @model_validator(mode="after")
    def _accuracy_in_percent(self) -> Self:
        if self.accuracy is not None and self.accuracy <= 1:
            raise ValueError(
                f"accuracy is in percent; write {100 * self.accuracy:g} for {self.accuracy:g}"
            )
        return self

    @model_validator(mode="after")
    def _weights_or_training(self) -> Self:
        if self.weights is not None and self.training is not None:
            raise ValueError("weights and training exclude each other; keep one of them")
        check_entry(self.entry, self.weights)
        return self

    @property
    def weights_file(self) -> Path | None:
        """The checkpoint's file, or None where weights is null or a torchvision weights name."""
        return weights_file(self.weights)


def weights_file(weights: str | None, folder: Path = Path()) -> Path | None:
    """The file that weights name, or None where they are null or a torchvision weights name.

    Parameters
    ----------
    folder
        folder that a relative path starts from.
    """
    if weights is None:
        return None
    path = folder / expanded(weights)
    named = "/" in weights or not _TORCHVISION_NAME.fullmatch(weights)
    return path if named or is_address(path) or os.path.isfile(path) else None  # noqa: PTH113 - never raises for odd names


def check_entry(entry: str | None, weights: str | None) -> None:
    """Refuse an entry of a checkpoint if there is no checkpoint.

    Raises
    ------
    ValueError
        If entry is given without weights.
    """
    if entry is not None and weights is None:
        raise ValueError("entry is a place in a checkpoint; name the checkpoint with weights")


class Levels(NamedTuple):
    """The place of a hypergraph in its family."""

    quantile: float
    """quantile level, between 0 and 1, that chooses the threshold q."""
    percentage: float
    """p, above 0 and at most 100."""


class LayerSignificance(Section):
    """The levels of the layers that a name or glob matches; null takes the run's."""

    quantile: Quantile | None = Field(None, description="as in the section above")
    percentage: Percentage | None = Field(None, description="as in the section above")


class SignificanceParameters(Section):
    """Quantile level that chooses the threshold q, and percentage p (section 5)."""

    quantile: Quantile = Field(
        0.90, description="quantile level of a layer's signals that is its threshold q"
    )
    percentage: Percentage = Field(
        75, description="p: share of a class's images that must exceed q for significance"
    )
    layers: dict[str, LayerSignificance] = Field(
        default_factory=dict, description="other levels for a layer's name or a glob"
    )
    grid: Annotated[list[Quantile], Several] = Field(
        list(GRID),
        description="quantile levels computed and stored besides the run's own",
    )
    percentages: Annotated[list[Percentage], Several] = Field(
        list(PERCENTAGES),
        description="percentages over which the family is mapped, besides the run's own",
    )
    directions: Annotated[list[Direction], Field(min_length=1, max_length=2)] = Field(
        ["positive", "negative"],
        description="directions in which singular vectors are nodes; the paper has [positive]",
    )
    split: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.5,
        description="share of each class's images that chooses thresholds and vectors, which the "
        "others judge; null: the whole set does both",
    )
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        0, description="seed of the split, and of permutations and rotations"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.95,
        description="level of the confidence intervals of fractions and their differences, over "
        "all that are shown together",
    )
    resamples: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        200, description="bootstrap resamples of the images that give the stability; 0 for none"
    )
    sample_sizes: Annotated[list[Positive], Several] = Field(
        [10, 50, 100],
        description="images per class in the samples whose thresholds are compared with those of "
        "all images; [] for none",
    )
    superclasses: dict[Annotated[str, Field(min_length=1)], list[str]] = Field(
        default_factory=dict,
        description="groups of classes by name, or a YAML file that holds them",
    )

    @model_validator(mode="after")
    def _directions_in_order(self) -> Self:
        if self.directions not in (["positive", "negative"], ["positive"], ["negative"]):
            raise ValueError(
                f"directions: {self.directions} is refused; [positive, negative], [positive] or "
                "[negative]"
            )
        return self

    @model_validator(mode="after")
    def _superclasses_do_not_overlap(self) -> Self:
        for name, members in self.superclasses.items():
            if not members:
                raise ValueError(f"superclasses: {name!r} has no class; name at least one")
        counts = Counter(c for members in self.superclasses.values() for c in members)
        for target_class, times in counts.items():
            if times > 1:
                groups = [n for n, m in self.superclasses.items() if target_class in m]
                raise ValueError(
                    f"superclasses: the class {target_class!r} is named {times} times, in "
                    f"{', '.join(groups)}; a class belongs to one group at most"
                )
        return self

    def levels(self, layer: str) -> Levels:
        """Quantile level and percentage of a layer; its own name takes precedence over globs."""
        own = self.layers.get(layer)
        if own is None:
            own = next((v for k, v in self.layers.items() if fnmatchcase(layer, k)), None)
        quantile = own.quantile if own and own.quantile is not None else self.quantile
        percentage = own.percentage if own and own.percentage is not None else self.percentage
        return Levels(quantile, percentage)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """All quantile levels of the run, ascending: the grid and the run's own."""
        own = {v.quantile for v in self.layers.values() if v.quantile is not None}
        return tuple(sorted({*self.grid, self.quantile, *own}))

    @property
    def all_percentages(self) -> tuple[float, ...]:
        """All percentages of the family's map, ascending: the grid and the run's own."""
        own = {v.percentage for v in self.layers.values() if v.percentage is not None}
        return tuple(sorted({*self.percentages, self.percentage, *own}))


class ShardParameters(Section):
    """How the cube is cut: a shard is written by one task, a batch is one forward pass."""

    images: Literal["auto"] | Positive = Field(
        "auto", description="images in one shard; auto: by memory, throughput and workers"
    )
    batch_size: Positive = Field(64, description="images in one forward pass")
    patience: Positive | None = Field(
        600,
        le=10**9,
        description="seconds to wait for a Dask worker while none is connected, before the run "
        "ends with an error; null waits for ever",
    )


class ExtractionParameters(Section):
    """How images pass through the network; its effect on the signals is measured and stored."""

    fast: bool = Field(
        False,
        description="fold BatchNorms into the convolutions for the pass; the layers' own signals "
        "are recovered",
    )
    precision: Literal["float32", "tfloat32", "bfloat16", "float16"] = Field(
        "float32",
        description="precision of the pass; tfloat32 rounds the factors of products on a GPU to 10 "
        "bits and changes nothing elsewhere; bfloat16 and float16 use automatic mixed precision",
    )
    compile: bool = Field(
        False, description="compile the pass with torch.compile; on CPUs it takes a C++ compiler"
    )
    decoding: Literal["cpu", "gpu"] = Field(
        "cpu",
        description="what decodes JPEG files; gpu: the worker's GPU, whose decoder rounds "
        "differently, and the processor where there is none or the GPU refuses a file",
    )

    @property
    def plain(self) -> bool:
        """Whether the pass is the network's own in float32, over images read as anywhere."""
        return self == ExtractionParameters()


class RunParameters(Section):
    """All parameters of one run."""

    name: Title = Field("run", description="title of the run")
    model: ModelParameters
    images: ImageParameters
    layers: Literal["all"] | list[str] = Field("all", description="all, or names and globs")
    significance: SignificanceParameters = Field(default_factory=SignificanceParameters)
    shards: ShardParameters = Field(default_factory=ShardParameters)
    extraction: ExtractionParameters = Field(default_factory=ExtractionParameters)
    right_singular_vectors: Literal["auto", "always", "never"] = Field(
        "auto", description="store V: always, never, or where it has at most 2**24 entries"
    )
    fold_batch_norm: bool = Field(
        False,
        description="decompose each layer together with the BatchNorm that alone reads its output",
    )
    spatial_statistics: bool = Field(
        False,
        description="store the greatest and least signal of all positions and the share of "
        "positions past the threshold; a second pass over the images",
    )
    capacity: list[Matrization] = Field(
        list(_CHEAP),
        description="matrizations whose spectra and power laws are stored; toeplitz takes minutes "
        "where layers are wide and images large; [] for none",
    )
    exemplars: Positive = Field(9, description="strongest images kept for each singular vector")
    visualizations: VisualizationParameters = Field(default_factory=VisualizationParameters)
    controls: ControlParameters = Field(default_factory=ControlParameters)
    cluster: Cluster = Field(
        "auto",
        description="auto, local, cuda, a scheduler address, or a cluster YAML file",
    )

    @model_validator(mode="after")
    def _layers_named(self) -> Self:
        if self.layers == []:
            raise ValueError('layers is empty; write "all" or at least one name or glob')
        return self

    @model_validator(mode="after")
    def _unfolded_first(self) -> Self:
        if self.capacity and "unfolded" not in self.capacity:
            raise ValueError(
                f"capacity: {self.capacity} lacks unfolded, which tables compare with; add it, or "
                "write [] for no capacity metric"
            )
        return self

    def selects(self, layer: str) -> bool:
        """Whether the run analyses a layer of this name."""
        return self.layers == "all" or any(fnmatchcase(layer, glob) for glob in self.layers)
