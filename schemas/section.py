"""What all sections of a person's parameters share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Whole numbers that every language reads from JSON exactly.
Positive = Annotated[int, Field(gt=0, lt=2**53)]


class Section(BaseModel):
    """Base of all parameters that a person gives: strict and frozen."""

    # Strict: `per_class: true` or `percentage: "75"` is a slip, not a number.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, serialize_by_alias=True
    )
