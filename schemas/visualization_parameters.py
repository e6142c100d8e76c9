"""What a run may ask for of optimised images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.section import Positive, Section

#: What of a layer's signals an optimised image is to increase.
Objective = Literal["mean", "density"]


class VisualizationParameters(Section):
    """Optimised images of singular vectors (section 6), and how much a run may spend on them."""

    targets: Literal["equivalence_classes", "all", "none"] = Field(
        "equivalence_classes",
        description="equivalence_classes: those of the hierarchies, the most discriminating first; "
        "all: then every singular vector in both directions; none",
    )
    seconds: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        12.0, description="seconds that a run may spend on them; null for no limit"
    )
    images: Positive | None = Field(
        None, description="images that a run makes at most; null for no limit"
    )
    objectives: Annotated[list[Objective], Field(min_length=1, max_length=2)] = Field(
        ["mean"],
        description="mean: of the signal over positions, as in Eq. 19; density: its soft maximum, "
        "which does not smear; both, if both are listed",
    )
    parametrization: Literal["fourier", "maco"] = Field(
        "fourier",
        description="fourier: coefficients in decorrelated colours; maco: phases alone, with the "
        "magnitudes of natural images",
    )
    seeds: Annotated[int, Field(gt=0, le=100)] = Field(
        2, description="seeds tried for each image, of which the best is kept"
    )
    steps: Annotated[int, Field(gt=0, le=100_000)] | None = Field(
        None, description="steps of the optimisation; null for as many as the image's size needs"
    )
    diverse: Annotated[int, Field(gt=0, le=16)] = Field(
        1, description="images of one target, which are pushed apart if there are several"
    )
    precision: Literal["float32", "float64"] = Field(
        "float32", description="float64 gives the same bits in any batch and on any worker"
    )

    @model_validator(mode="after")
    def _objectives_differ(self) -> Self:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives: {self.objectives[0]!r} is named twice; name it once")
        return self
