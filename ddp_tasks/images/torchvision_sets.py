"""Recognising torchvision's own data sets without importing torchvision.

Importing it takes seconds, for which a run with other data sets need not wait. If it is not
imported, no data set is one of its own.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def loaded() -> ModuleType | None:
    """The module ``torchvision.datasets``; None if nothing has imported it."""
    return sys.modules.get("torchvision.datasets")


def has_index_of(dataset: Any, *names: str) -> bool:
    """Whether a data set uses the index (``__getitem__``) of one of torchvision's classes.

    Parameters
    ----------
    names
        of the classes.
    """
    datasets = loaded()
    index = type(dataset).__getitem__
    return datasets is not None and any(
        index is getattr(datasets, name).__getitem__ for name in names if hasattr(datasets, name)
    )
