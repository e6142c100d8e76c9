"""Addresses of what a person looks at: the report and the explorer name things alike."""

from __future__ import annotations

from urllib.parse import quote


def layer_address(layer: str) -> str:
    """Of a layer within a page, such as ``features.20``; odd characters are percent-encoded."""
    return quote(layer, safe="")


def vector_address(layer: str, vector: int) -> str:
    """Of a singular vector, in both directions: ``features.20/v85``."""
    return f"{layer_address(layer)}/v{vector}"


def class_address(target_class: str) -> str:
    """Of a target class: ``class/cat``."""
    return f"class/{quote(target_class, safe='')}"
