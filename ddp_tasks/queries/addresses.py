"""Addresses of what a person looks at: the report and the explorer name things alike."""

from __future__ import annotations

from urllib.parse import quote

from schemas.shown import escaped


def layer_address(layer: str) -> str:
    """Of a layer within a page, such as ``features.20``; odd characters are percent-encoded."""
    return _encoded(layer)


def vector_address(layer: str, vector: int) -> str:
    """Of a singular vector, in both directions: ``features.20/v85``."""
    return f"{layer_address(layer)}/v{vector}"


def class_address(target_class: str, other: str = "") -> str:
    """Of a target class, ``class/cat``, or of what tells it from another, ``class/cat/dog``."""
    names = [target_class, other] if other else [target_class]
    return "/".join(["class", *(_encoded(name) for name in names)])


def _encoded(name: str) -> str:
    return quote(escaped(name), safe="")
