"""What a person may ask for of the removal of singular vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.parameters import Percentage, Quantile
from schemas.section import Positive, Section


def _ascending(levels: list[float]) -> list[float]:
    return sorted(set(levels))


Quantiles = Annotated[
    list[Quantile], Field(min_length=1, max_length=100), AfterValidator(_ascending)
]
Percentages = Annotated[
    list[Percentage], Field(min_length=1, max_length=100), AfterValidator(_ascending)
]


class AblationParameters(Section):
    """Which singular vectors are removed, beside what, and on how many images it is judged."""

    quantiles: Quantiles = Field(
        [0.85, 0.90, 0.95],
        description="quantile levels at which vectors are significant for a class, of those that "
        "the run stores",
    )
    percentages: Percentages = Field(
        [50.0, 62.5, 75.0], description="percentages p, each with each quantile level"
    )
    images: Positive = Field(
        200, description="images of each class, at most, on which a removal is judged"
    )
    others: Positive = Field(
        90,
        description="images of all other classes together beside those of a set's own class",
    )
    draws: Annotated[int, Field(ge=0, le=1000)] = Field(
        1, description="controls of each random kind for each set"
    )
    vectors: bool = Field(True, description="remove every single singular vector too")
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        0, description="seed of the images and of the random controls"
    )
