"""What tells one class from another: vectors that are beyond q for one and not for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pandas as pd

from ddp_tasks.explorer.node_details import ShownImage, shown_image
from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import View, address_of
from ddp_tasks.figures.notation import node_name
from ddp_tasks.significance.distinguishing import distinguishing
from ddp_tasks.weights.signed_vectors import SignedVector
from schemas.parameters import Levels
from schemas.run_error import RunError

_ROWS, _IMAGES = 16, 5


@dataclass(frozen=True)
class PairRow:
    """One vector, and how often it is beyond q for the images of either class."""

    name: str
    layer: str
    does: str
    share_a: float
    share_b: float
    difference: float
    low: float
    high: float
    sure: bool
    """whether the interval leaves out zero."""
    strongest: list[ShownImage]


@dataclass(frozen=True)
class Pair:
    """Two classes, and what tells them apart."""

    a: str
    b: str
    classes: list[str]
    layer: str
    over: str
    """all where all layers are looked at."""
    rows: list[PairRow]
    vectors: int
    """that were compared."""
    sure: int
    """of these, with an interval that leaves out zero."""
    confidence: float
    says: str
    """what to know of the levels."""
    query: str


def names_of(shown: Slice, view: View) -> tuple[str, str]:
    """The two classes that a view compares: those it names, else the run's first two.

    Raises
    ------
    RunError
        If there is no such class, or it is compared with itself.
    """
    classes = list(shown.table.target_classes)
    if len(classes) < 2:
        raise RunError("there is one class; two are needed to tell one from another")
    a = view.a or next(name for name in classes if name != view.b)
    b = view.b or next(name for name in classes if name != a)
    for name in (a, b):
        if name not in classes:
            raise RunError(
                f"there is no class {name!r} in what is shown; {', '.join(classes[:12])}"
            )
    if a == b:
        raise RunError(f"{a!r} is compared with itself; choose two classes")
    return a, b


def compared_in_layer(shown: Slice, a: str, b: str) -> pd.DataFrame:
    """What tells two classes apart in the layer that is shown, at the levels that are shown.

    Raises
    ------
    RunError
        If one of the classes has no images.
    """
    table = shown.table
    stored = shown.run.signals.stored
    return _distinguishing(
        lambda: distinguishing(
            shown.levels.significance(table.quantile, shown.groups),
            stored.layers,
            [shown.layer],
            (a, b),
            lambda _: Levels(table.quantile, table.percentage),
            directions=table.directions,
            confidence=shown.run.signals.run.significance.confidence,
        )
    )


def compared_in_all(shown: Slice, a: str, b: str) -> pd.DataFrame:
    """What tells two classes apart in any layer, at the run's own levels.

    Raises
    ------
    RunError
        If one of the classes has no images, or groups are compared.
    """
    if shown.groups:
        raise RunError("groups of classes are compared in one layer at a time")
    stored = shown.run.signals.stored
    direction = shown.table.direction
    return stored.distinguishing(a, b, "*", direction)


def _distinguishing(compare: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    try:
        return compare()
    except ValueError as error:
        raise RunError(str(error)) from None


def pair_of(shown: Slice, view: View, names: tuple[str, str], frame: pd.DataFrame) -> Pair:
    """Arrange what tells two classes apart."""
    run = shown.run
    a, b = names
    sure = (frame["low"] > 0) | (frame["high"] < 0)
    rows = []
    for place, row in enumerate(frame.head(_ROWS).to_dict("records")):
        layer, vector = str(row["layer"]), int(row["singular_vector"])
        direction = str(row["direction"])
        member = SignedVector(vector, 1 if direction == "positive" else -1)
        stored = run.exemplars.sel(layer=layer, singular_vector=vector, direction=direction)
        pairs = zip(stored["image"].to_numpy(), stored["signal"].to_numpy(), strict=True)
        strongest = [
            shown_image(shown, str(image), float(signal)) for image, signal in pairs if image
        ]
        rows.append(
            PairRow(
                name=node_name(vector, direction, shown.table.directions),
                layer=layer,
                does=urlencode({"layer": layer, "run": str(run.number), "at": address_of(member)}),
                share_a=float(row["fraction_a"]),
                share_b=float(row["fraction_b"]),
                difference=float(row["difference"]),
                low=float(row["low"]),
                high=float(row["high"]),
                sure=bool(sure.iloc[place]),
                strongest=strongest[:_IMAGES],
            )
        )
    return Pair(
        a=a,
        b=b,
        classes=list(shown.table.target_classes),
        layer=shown.layer,
        over=view.over,
        rows=rows,
        vectors=len(frame),
        sure=int(sure.sum()),
        confidence=run.signals.run.significance.confidence,
        says="at the run's own levels" if view.over == "all" else "at the levels shown",
        query=view.query(),
    )
