"""What a page of the explorer shows, as its address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl, urlencode

from ddp_tasks.explorer.class_groups import Groups, read_groups
from ddp_tasks.hypergraphs.family import BOTH
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVector
from schemas.run_error import RunError

#: Views of the page, with their names.
VIEWS = {
    "layer": "Layer",
    "classes": "Map of classes",
    "images": "Map of images",
    "pair": "A from B",
}
#: How a map is laid out, with the names.
LAYOUTS = {"pca": "principal components", "umap": "UMAP"}

_SIGNS = {"+": 1, "-": -1}


@dataclass(frozen=True)
class View:
    """Everything that an address says; two people with one address see the same.

    Texts are as they stand in the address; an empty one leaves the choice to the run.
    """

    view: str = "layer"
    """one of ``VIEWS``."""
    run: str = "1"
    """1, or 2 of two runs."""
    layer: str = ""
    q: str = ""
    """quantile level that chooses the threshold; empty: the layer's own."""
    p: str = ""
    """percentage; empty: the layer's own."""
    direction: str = ""
    """positive, negative or both; empty: the run's."""
    groups: str = ""
    """groups of classes, a line for each; empty: the classes as they are."""
    at: str = ""
    """what the details are of: v85+, class:cat or image:0007; empty: the run."""
    beside: str = ""
    """another layer as run/layer; empty: none."""
    a: str = ""
    b: str = ""
    """two classes to be told apart."""
    over: str = ""
    """all: tell them apart in all layers."""
    by: str = "pca"
    """one of ``LAYOUTS``."""
    drawn: str = ""
    """rings or matrix: how hypergraphs are drawn; empty: rings of few equivalence classes."""
    whole: str = ""
    """all: hierarchies are drawn whole; empty: folded to the width of the page."""
    point: str = ""
    """a place on the image of the details, as x,y from 0 to 1; empty: none."""

    @classmethod
    def of_query(cls, query: str) -> View:
        """The view that the query of an address says; what it does not know is left out."""
        return cls().changed(dict(parse_qsl(query.removeprefix("?"))))

    def changed(self, values: Mapping[str, str]) -> View:
        """The view with other values.

        Another thing in the details has no place pointed at, and other groups or another run have
        other classes to be told apart.
        """
        known = {field.name for field in fields(self)}
        values = {name: str(value) for name, value in values.items() if name in known}
        if "at" in values and "point" not in values:
            values["point"] = ""
        if any(
            values.get(name, now) != now
            for name, now in (("groups", self.groups), ("run", self.run))
        ):
            values = {"a": "", "b": "", **values}
        return replace(self, **values)

    def query(self) -> str:
        """The query of the address of this view."""
        plain = View()
        return urlencode(
            [
                (field.name, getattr(self, field.name))
                for field in fields(self)
                if getattr(self, field.name) != getattr(plain, field.name)
            ]
        )

    def class_groups(self, classes: list[str]) -> Groups | None:
        """Groups of classes by name; None where there are none.

        Raises
        ------
        RunError
            If they cannot be read.
        """
        return read_groups(self.groups, classes) if self.groups.strip() else None

    def quantile(self) -> float | None:
        """The quantile level; None is the layer's own.

        Raises
        ------
        RunError
            If it is no number between 0 and 1.
        """
        return _number(self.q, "quantile level", 1.0)

    def percentage(self) -> float | None:
        """The percentage; None is the layer's own.

        Raises
        ------
        RunError
            If it is no number above 0 and at most 100.
        """
        return _number(self.p, "percentage", 100.0)

    def directions(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """Directions of the nodes.

        Raises
        ------
        RunError
            If it is neither positive, negative nor both.
        """
        if not self.direction:
            return own
        if self.direction == BOTH:
            return DIRECTIONS
        if self.direction not in DIRECTIONS:
            raise RunError(
                f"direction: {self.direction!r} is refused; allowed: {', '.join(DIRECTIONS)}, both"
            )
        return (self.direction,)


def _number(text: str, name: str, most: float) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= most:
        raise RunError(f"{name}: {text!r} is refused; above 0 and at most {most:g}")
    return value


def address_of(member: SignedVector) -> str:
    """How an address writes a singular vector in a direction: v85+ or v85-."""
    return f"v{member.vector}{'+' if member.sign > 0 else '-'}"


def member_at(text: str) -> SignedVector | None:
    """The singular vector in a direction that an address names; None where it names none."""
    number, sign = text[1:-1], text[-1:]
    if text[:1] == "v" and number.isdecimal() and sign in _SIGNS:
        return SignedVector(int(number), _SIGNS[sign])
    return None
