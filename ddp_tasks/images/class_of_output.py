"""Labels that are groups of a network's classes: which of them each output counts for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_tasks.images.dataset_parts import Indices
from ddp_tasks.images.items import described
from schemas.parameters import RunError


def class_of_output(dataset: Any) -> Indices | None:
    """The class that each output of a network counts for; None where it is the output's own number.

    A data set whose labels are groups of a network's classes has an attribute of this name.

    Returns
    -------
    shape (outputs,); -1 of an output that counts for no class

    Raises
    ------
    RunError
        If the attribute is no list of whole numbers.
    """
    declared = getattr(dataset, "class_of_output", None)
    if declared is None:
        return None
    try:
        of_output = np.asarray(declared)
    except Exception:  # noqa: BLE001 - the person's own attribute may be anything
        of_output = np.empty(0)
    if of_output.ndim != 1 or of_output.dtype.kind not in "iu":
        raise RunError(
            f"images.factory gave {described(dataset)}, whose class_of_output is a "
            f"{type(declared).__name__}; a whole number for each output of a network is needed"
        )
    return of_output.astype(np.int64)
