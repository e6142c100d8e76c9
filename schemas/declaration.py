"""Declarations of stored arrays and groups, and coordinates that several groups share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["float", "integer", "boolean", "string"]


@dataclass(frozen=True)
class Variable:
    """The declaration of one stored array."""

    dims: tuple[str, ...]
    kind: Kind
    meaning: str
    units: str = ""
    source: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Group:
    """The declaration of one group of a store; a path's ``{...}`` stands for any name."""

    meaning: str
    variables: Mapping[str, Variable]


LAYER = Variable(("layer",), "string", "name of the module; NAME@2 is its second call")
SINGULAR_VECTOR = Variable(("singular_vector",), "integer", "0-based index i")
TARGET_CLASS = Variable(("target_class",), "string", "name of the target class")
DIRECTION = Variable(("direction",), "string", "positive or negative")
QUANTILE = Variable(("quantile",), "float", "quantile level, ascending", "1")

SPLIT = Variable(("split",), "string", "selection and estimation, or all")

#: Dimensions of what is computed for each direction and quantile level.
GRID = ("direction", "quantile")

COMPLETE = Variable(
    ("shard",),
    "integer",
    "0 until the shard's data are written, then a number made of the digests of its files",
)
