"""Finding the class scores in the output of a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

#: Probabilities are kept this far from 0 and 1, so that their log-odds stay finite.
_LEAST_PROBABILITY = 1e-7

#: Most parts of an output that a message lists.
_MOST_LISTED = 12


def class_scores(
    output: Any, images: int, part: str | None = None, *, probability: bool = False
) -> Tensor:
    """One row of class scores for each image.

    A tensor is taken as it is. In a mapping, a tuple or an object with fields (torchvision's
    ``GoogLeNetOutputs``, the outputs of Hugging Face's transformers) the part named ``logits`` is
    taken, or else the only part with one row for each image. One number for each image is the
    logit z of the second of two classes, whose scores are 0 and z.

    Parameters
    ----------
    output
        of the network's forward pass.
    images
        n, the number of images that the network was given.
    part
        names or places in the output, joined by dots, that lead to the scores; None searches for
        them.
    probability
        a single number is the second class's probability instead of its logit.

    Returns
    -------
    shape (n, classes)

    Raises
    ------
    ValueError
        If there are no such scores, or several tensors could be them.
    """
    return _rows(scores_part(output, images, part), images, probability=probability)


def scores_in_training(
    output: Any, images: int, part: str | None = None, *, classes: int, probability: bool = False
) -> list[Tensor]:
    """The class scores of a network in training mode, then those of its auxiliary classifiers.

    A network with one part in evaluation may give more in training. The classifier's own scores
    are the part named ``logits``, or else the first part with a column for each class.

    Parameters
    ----------
    part, probability
        as in ``class_scores``; if a part is named, only that part is used.
    classes
        number of classes that the network distinguishes in evaluation.

    Returns
    -------
    at least one, each of shape (n, classes)

    Raises
    ------
    ValueError
        As of ``class_scores``.
    """
    if part is None and not isinstance(output, Tensor):
        named = _named(output)
        parts = [named[name] for name in sorted(named, key=lambda name: name != "logits")]
        matrices = _matrices([tensor for tensor in parts if _is_a_row_each(tensor, images)])
        rows = [_rows(tensor, images, probability=probability) for tensor in matrices]
        if alike := [tensor for tensor in rows if tensor.shape[1] == classes]:
            return alike
    return [class_scores(output, images, part, probability=probability)]


def are_probabilities(scores: Tensor) -> bool:
    """Whether class scores, shape (n, classes), are probabilities, as a softmax gives."""
    sums_to_one = torch.allclose(scores.sum(dim=1), torch.ones_like(scores[:, 0]), atol=1e-4)
    return sums_to_one and bool((scores >= 0).all())


def scores_part(output: Any, images: int, part: str | None = None) -> Tensor:
    """The part of an output that holds the scores, as the network gives it.

    Raises
    ------
    ValueError
        As of ``class_scores``.
    """
    candidates = _parts(output) if part is None else {part: _followed(output, part, images)}
    matrices = _matrices(
        [tensor for tensor in candidates.values() if _is_a_row_each(tensor, images)]
    )
    if len(matrices) == 1:
        return matrices[0]
    if part is not None:
        raise ValueError(
            f"model.output {part!r} is {_described(candidates[part])} for {images} images; a row "
            f"of class scores for each is needed{_listed(output)}"
        )
    listed = _listed(output)
    other = f"; model.output names another part{listed}" if listed else ""
    raise ValueError(
        f"the network gives {_described(output)} for {images} images; a classifier gives one row "
        "of class scores for each, as a tensor or as the only such part (or the part named "
        f"logits) of a tuple or mapping{other}"
    )


def whole_output(output: Any) -> Any:
    """The output of a network; a generator or other iterator is read to its end."""
    return tuple(output) if isinstance(output, Iterator) else output


def _matrices(tensors: list[Tensor]) -> list[Tensor]:
    # Beside the scores there may be one number for each image, such as an uncertainty.
    return [tensor for tensor in tensors if tensor.ndim == 2] or tensors


def _parts(output: Any) -> dict[str, Any]:
    if isinstance(output, Tensor):
        return {"": output}
    named = _named(output)
    return {"logits": named["logits"]} if "logits" in named else named


def _named(output: Any) -> dict[str, Any]:
    """The parts of an output, by name or by place."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        return dict(zip(map(str, names), output, strict=True))
    if is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return {"logits": output.logits} if hasattr(output, "logits") else {}


def _followed(output: Any, part: str, images: int) -> Any:
    """The part of an output to which names and places lead.

    Raises
    ------
    ValueError
        If they lead nowhere.
    """
    inner = output
    for step in part.split("."):
        named = _named(inner)
        # Named fields of a tuple have places too.
        places = dict(zip(map(str, range(len(named))), named.values(), strict=True))
        if step not in named and step not in places:
            raise ValueError(
                f"model.output {part!r} names no part of the network's output for {images} "
                f"images{_listed(output)}"
            )
        inner = named[step] if step in named else places[step]
    return inner


def _is_a_row_each(part: Any, images: int) -> bool:
    if not isinstance(part, Tensor) or part.is_complex():
        return False
    if images == 1 and part.ndim < 2 and part.numel():
        # The axis of images is gone: all values belong to the one image.
        return True
    if not part.ndim or len(part) != images:
        return False
    # Fully convolutional classifiers leave one position: (n, classes, 1, 1).
    return all(side == 1 for side in part.shape[2:])


def _rows(part: Tensor, images: int, *, probability: bool) -> Tensor:
    rows = part if part.ndim == 2 else part.reshape(images, -1)
    if rows.shape[1] != 1:
        return rows
    z = rows.float().logit(_LEAST_PROBABILITY) if probability else rows
    return torch.cat([torch.zeros_like(z), z], dim=1)


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    kind = type(output).__name__
    named = _named(output)
    if not named:
        return kind
    inside = ", ".join(
        str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
        for part in named.values()
    )
    return f"{kind} of {inside}"


def _listed(output: Any) -> str:
    """The parts that ``model.output`` may name, with their shapes."""
    tensors = list(_tensors(output, ""))
    if not tensors or tensors[0][0] == "":
        return ""
    listed = [f"{path} {tuple(tensor.shape)}" for path, tensor in tensors[:_MOST_LISTED]]
    more = len(tensors) - len(listed)
    return f": {', '.join(listed)}" + (f" and {more} more" if more else "")


def _tensors(output: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor):
        yield path, output
        return
    for name, part in _named(output).items():
        yield from _tensors(part, f"{path}.{name}".removeprefix("."))
