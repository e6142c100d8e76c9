"""The names that a store gives to its layers and classes, without opening the run."""

from __future__ import annotations

from pathlib import Path

from ddp_tasks.store import groups


def stored_layers(path: Path) -> list[str]:
    """Names of the layers of a store, in forward order."""
    return [str(name) for name in groups.read(path, "layers")["layer"].to_numpy()]


def stored_classes(path: Path) -> list[str]:
    """Names of the target classes of a store."""
    return [str(name) for name in groups.read(path, "signals")["target_class"].to_numpy()]
