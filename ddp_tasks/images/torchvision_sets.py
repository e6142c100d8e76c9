"""torchvision's own data sets, where it is loaded: elsewhere no data set is one of them.

torchvision takes seconds to import, which a run of other data sets need not wait for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def loaded() -> ModuleType | None:
    """The module ``torchvision.datasets``; None where nothing has imported it."""
    return sys.modules.get("torchvision.datasets")


def has_index_of(dataset: Any, *names: str) -> bool:
    """Whether items are taken by the index of one of torchvision's classes.

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
