"""What a run may ask its findings to be compared with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.control_variables import LEAST_ROTATIONS
from schemas.section import Section

#: Parts fitted to a layer's outputs.
Rival = Literal["nmf", "dictionary"]


def _enough(drawn: int) -> int:
    if 0 < drawn < LEAST_ROTATIONS:
        raise ValueError(
            f"{drawn} draws are too few to say how rare a value is; {LEAST_ROTATIONS} at least, or "
            "0 for none"
        )
    return drawn


Draws = Annotated[int, Field(ge=0, le=10_000), AfterValidator(_enough)]


class ControlParameters(Section):
    """What the findings of a run stand beside: other bases, and chance."""

    rotations: Draws = Field(
        39,
        description="random rotations of each layer's singular vectors, of either kind; 0 for "
        "none. By chance one in twenty values is beyond the 95th percentile of 39",
    )
    permutations: Draws = Field(
        99, description="permutations of the images' labels; 0 for none. Of 99, p is 0.01 at least"
    )
    rivals: Annotated[list[Rival], Field(max_length=2)] = Field(
        default_factory=list,
        description="parts fitted to each layer's outputs, measured as its singular vectors are: "
        "nmf, dictionary; seconds a layer",
    )

    @model_validator(mode="after")
    def _rivals_differ(self) -> Self:
        if len(set(self.rivals)) < len(self.rivals):
            raise ValueError(f"rivals: {self.rivals[0]!r} is named twice; name it once")
        return self
