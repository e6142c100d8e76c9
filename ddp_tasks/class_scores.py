"""The class scores in whatever a classifier gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def class_scores(output: Any, images: int) -> Tensor:
    """One row of class scores for each image.

    A tensor is taken as it is. Of a mapping, a tuple or an object with fields (torchvision's
    ``GoogLeNetOutputs``, the outputs of Hugging Face's transformers) what it calls ``logits`` is
    taken; where nothing has that name, the only part that is one row for each image.

    Parameters
    ----------
    output
        what the network's forward pass gives.
    images
        n, the number of images it was given.

    Returns
    -------
    shape (n, classes)

    Raises
    ------
    ValueError
        If there are no such scores, or several tensors could be them.
    """
    found = [part for part in _candidates(output) if _is_a_row_each(part, images)]
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"the network gives {_described(output)} for {images} images; a classifier gives one row "
        "of class scores for each, as a tensor or as the only such part (or the part named "
        "logits) of a tuple or mapping"
    )


def _candidates(output: Any) -> list[Any]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [output["logits"]] if "logits" in output else list(output.values())
    if hasattr(output, "logits"):
        return [output.logits]
    return list(output) if isinstance(output, tuple | list) else []


def _is_a_row_each(part: Any, images: int) -> bool:
    return isinstance(part, Tensor) and part.ndim == 2 and len(part) == images


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    kind = type(output).__name__
    parts = list(output.values()) if isinstance(output, Mapping) else output
    if not isinstance(parts, tuple | list):
        return kind
    inside = ", ".join(
        str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
        for part in parts
    )
    return f"{kind} of {inside}"
