"""Elements and figures of HoloViews, made with little else than their data and options.

HoloViews' usual ways put each table into a data frame, make its dimensions anew and record every
call on an element: most of the time that a figure of small tables takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import holoviews as hv

_Drawn = TypeVar("_Drawn", bound=hv.core.dimension.Dimensioned)


def element(
    kind: type[_Drawn],
    columns: Mapping[str, Any],
    keys: int,
    *,
    group: str = "",
    label: str = "",
    dimension_labels: Mapping[str, str] | None = None,
    **options: Any,
) -> _Drawn:
    """An element of a table, with its options set.

    Parameters
    ----------
    kind
        of the element, such as ``hv.Labels``.
    columns
        arrays or lists of equal length, by the names of the element's dimensions.
    keys
        how many of them are key dimensions; these come first.
    group, label
        of the element; without them, HoloViews' own.
    dimension_labels
        what axes call the dimensions that are not called by their names.
    options
        of its looks, as ``opts`` takes them.

    Raises
    ------
    ValueError
        If elements of this kind have no such option.
    """
    words = dimension_labels or {}
    dims = [dimension(name, words.get(name, name)) for name in columns]
    named = {name: text for name, text in (("group", group), ("label", label)) if text}
    # A dictionary costs a third of a data frame.
    made = kind(dict(columns), dims[:keys], dims[keys:], datatype=["dictionary"], **named)
    return with_options(made, **options)


def figure(elements: Sequence[hv.Element], **options: Any) -> hv.Overlay:
    """Elements drawn over each other, with the options of the figure set.

    Raises
    ------
    ValueError
        If a figure has no such option.
    """
    # Set on a figure with elements, HoloViews would copy the options of each of them.
    empty = with_options(hv.Overlay([]), **options)
    return hv.Overlay(list(elements), id=empty.id)


def with_options(drawn: _Drawn, **options: Any) -> _Drawn:
    """Set options of an element or a figure, as its method ``opts`` does in six times as long.

    Returns
    -------
    the same object

    Raises
    ------
    ValueError
        If there is no such option.
    """
    kind = type(drawn).__name__
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        sections.setdefault(_section_of(kind, name), {})[name] = value
    if sections:
        hv.opts.apply_groups(drawn, {kind: sections}, clone=False)
    return drawn


@cache
def dimension(name: str, label: str) -> hv.Dimension:
    """A dimension, the same one for all elements."""
    return hv.Dimension((name, label))


@cache
def _section_of(kind: str, option: str) -> str:
    """Which section of HoloViews' options one belongs to."""
    groups = hv.Store.options(backend="bokeh")[kind].groups
    for section in ("style", "plot"):
        if option in groups[section].allowed_keywords.values:
            return section
    raise ValueError(f"{kind} has no option {option!r}")
