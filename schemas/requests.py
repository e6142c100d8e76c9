"""What a person asks for beside the keys of a file: files by name, and finished runs."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from schemas.parameters import Cluster, File
from schemas.section import Section

Changes = Annotated[
    list[str],
    Field(
        description="keys that are changed: key=value, such as images.per_class=50, "
        "with dots between keys; the value is YAML"
    ),
]


class _Named(Section):
    file: Annotated[str, Field(min_length=1, max_length=4000)]
    changes: Changes = Field(default=[])

    @property
    def name(self) -> str:
        """Of the file, without folder and ending: what the file calls it is read later."""
        return PurePath(self.file).stem


class RunFile(_Named):
    """A preset or a run file, by name; the machine that carries out the run reads it."""

    file: Annotated[str, Field(min_length=1, max_length=4000)] = Field(
        description="a preset such as digits, or the path of a YAML file"
    )


class ZooFile(_Named):
    """A list of models by name; the machine that carries out the flow reads it."""

    file: Annotated[str, Field(min_length=1, max_length=4000)] = Field(
        description="cifar10-resnets, torchvision, or the path of a YAML file"
    )


class Opening(Section):
    """How the model and the images of a finished run are opened again."""

    run_file: File | None = Field(
        None,
        description="your own run file, for model and images; null takes what the store records, "
        "and calls code of presets only",
    )
    changes: Changes = Field(default=[])
    trust: bool = Field(False, description="run the code that the store names, whoever wrote it")
    cluster: Cluster | None = Field(
        None, description="another cluster than the run's; null takes the run's"
    )


class VisualizationRequest(Section):
    """Which optimised images a person asks for; without vectors and classes: options.targets."""

    layer: str | None = Field(None, description="a layer of the run; null for all layers")
    vectors: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], description="singular vectors of the layer by number, each a target of its own"
    )
    classes: list[str] = Field(
        default=[],
        description="target classes, whose significant vectors become one target, or equivalence "
        "classes by one of their vectors, such as v14",
    )
    negative: bool = Field(
        False, description="the opposite direction of all that is asked for of a layer"
    )
