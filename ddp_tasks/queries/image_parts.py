"""Which images of a finished run choose, and which judge what was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.splits import split_images
from schemas.run_error import RunError

#: Share of each class that chooses where the run itself has no split.
SHARE = 0.5


def image_parts(
    significance: xr.Dataset, target: npt.NDArray[np.int64], seed: int, path: Path
) -> tuple[npt.NDArray[np.int8], str]:
    """Each image's part, 0 for images that choose and 1 for those that judge.

    Parameters
    ----------
    significance
        the store's group of this name, whose split is taken if there is one.
    target
        shape (image,); -1 for images that count nowhere.
    seed
        of the split that is made here where the run has none.
    path
        of the store, for messages.

    Returns
    -------
    shape (image,), and a sentence on where the split comes from

    Raises
    ------
    RunError
        If a class has a single image, and the run has no split.
    """
    if significance.sizes["split"] > 1:
        stored = significance["part"].to_numpy().astype(np.int8)
        return stored, "Images that choose and images that judge are those of the run."
    try:
        part = split_images(target, SHARE, seed)
    except ValueError as error:
        raise RunError(f"the images of {path} cannot be split: {error}") from None
    return part, (
        "The run does not split its images; here half of each class's images, drawn by the seed "
        f"{seed}, choose and the others judge."
    )
