"""A list of models with known test accuracies, for the capacity metric (section 4.1)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.parameters import (
    MATRIZATIONS,
    Cluster,
    Factory,
    File,
    Kwargs,
    Matrization,
    ModelParameters,
    Side,
    Title,
    check_entry,
)
from schemas.section import Positive, Section


class ZooModel(Section):
    """One model of the list."""

    name: Title = Field(description="of the model, in table and page; names differ")
    family: Title = Field(description="models of one family share a linear fit")
    accuracy: Annotated[float, Field(ge=0, le=100)] = Field(description="test accuracy in percent")
    factory: Factory = Field(description="as in a run file")
    kwargs: Kwargs = Field(default_factory=dict, description="passed to the factory")
    weights: File | None = Field(None, description="as in a run file")
    entry: str | None = Field(None, description="as in a run file")
    input_size: Annotated[list[Side], Field(min_length=3, max_length=3)] | None = Field(
        None, description="(c, m, n) of one input; null takes the list's"
    )

    @property
    def parameters(self) -> ModelParameters:
        """The model as in a run file."""
        return ModelParameters(
            factory=self.factory, kwargs=self.kwargs, weights=self.weights, entry=self.entry
        )

    @model_validator(mode="after")
    def _entry_of_weights(self) -> Self:
        check_entry(self.entry, self.weights)
        return self


class ZooParameters(Section):
    """All parameters of the analysis of a list of models."""

    name: Title = Field("zoo", description="title of the list")
    folder: File | None = Field(
        None, description="where weights' files lie; null is the folder of the list's file"
    )
    input_size: Annotated[list[Side], Field(min_length=3, max_length=3)] = Field(
        description="(c, m, n) of one input"
    )
    matrizations: Annotated[list[Matrization], Field(min_length=1)] = Field(
        list(MATRIZATIONS), description="which spectra to compute"
    )
    fold_batch_norm: bool = Field(False, description="as in a run file")
    boundary_side: Annotated[int, Field(ge=0, le=4096)] = Field(
        1024,
        description="the periodic spectrum is compared with exact Toeplitz matrices, zero-padded "
        "and valid, of up to this many rows or columns (the fewer); 0 for none",
    )
    models: Annotated[list[ZooModel], Field(min_length=1)] = Field(
        description="the models, of which each is analysed"
    )
    cluster: Cluster = Field("auto", description="as in a run file")
    patience: Positive | None = Field(
        600, description="seconds to wait while no worker is connected; null waits for ever"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, n in Counter(model.name for model in self.models).items() if n > 1]
        if twice:
            raise ValueError(f"models: the name {twice[0]!r} is given twice; names must differ")
        if "unfolded" not in self.matrizations:
            raise ValueError(
                f"matrizations: {self.matrizations} lacks unfolded, which tables compare with"
            )
        return self
