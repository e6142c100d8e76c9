"""Which variant of a network a checkpoint fits, where it does not fit the one that was asked for.

Variants are built without weights (on torch's meta device), so that a hundred take seconds.
"""

from __future__ import annotations

import inspect
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.callables import factories
from ddp_tasks.networks.checkpoint_files import named_tensors
from ddp_tasks.networks.checkpoints import fitting_places
from schemas.parameters import RunError
from schemas.run_files import load_run, load_zoo, presets

#: Seconds that may be spent on looking; a refusal is not late by more.
SECONDS = 4.0

#: Values that are tried of a whole number, beside sizes that the checkpoint has.
_NUMBERS = range(1, 161)

#: Classes are looked for among the sizes of the last weights in a file.
_LAST = 6

Call = tuple[str, dict[str, Any]]


def fitting_variant(
    factory: str, kwargs: Mapping[str, Any], path: Path, seconds: float = SECONDS
) -> Call | None:
    """Another call that gives a network of exactly the tensors of a checkpoint, if one is near.

    Tried are other whole numbers for the factory's own arguments, such as a depth or a number of
    classes, and the networks of the package's presets and lists of models.

    Parameters
    ----------
    factory, kwargs
        as a run asks for the network.
    path
        of the checkpoint.
    seconds
        that may be spent on looking.

    Returns
    -------
    factory and its arguments; None if none was found in that time
    """
    until = time.monotonic() + seconds
    mappings = named_tensors(path, mapped=True)
    sizes = _last_sizes(mappings)
    counts = {sum(isinstance(v, Tensor) for v in tensors.values()) for tensors in mappings.values()}
    with torch.random.fork_rng(devices=[]):
        for call in _variants(factory, dict(kwargs), sizes):
            if time.monotonic() > until:
                return None
            expected = _expected(*call)
            # Most are told apart by their number of tensors alone, counts of batches aside.
            if expected is None or len(expected) > max(counts, default=0) + _counted(expected):
                continue
            places = (
                weights
                for place, tensors in mappings.items()
                for weights in fitting_places(expected, place, tensors)
            )
            if any(weights.left_alone == 0 for weights in places):
                return call
    return None


def shown_variant(variant: Call, factory: str, kwargs: Mapping[str, Any]) -> str:
    """A variant as what differs from the call that was asked for, such as ``depth=20``."""
    other, its = variant
    changed = [f"{key}={value!r}" for key, value in its.items() if kwargs.get(key) != value]
    return ", ".join([*([other] if other != factory else []), *changed])


def _variants(factory: str, kwargs: dict[str, Any], sizes: list[int]) -> Iterator[Call]:
    numbers = _whole_numbers(factory, kwargs)
    for name in numbers:
        # A checkpoint's own sizes say how many classes it has.
        for value in (*sizes, *(() if "class" in name else _NUMBERS)):
            yield factory, {**kwargs, name: value}
    for name in numbers:
        for classes in [other for other in numbers if other != name]:
            for size in sizes[:1]:
                for value in _NUMBERS:
                    yield factory, {**kwargs, name: value, classes: size}
    stem = _stem(factory)
    # Networks called alike come first: resnet34 for resnet18.
    others = dict.fromkeys((other, tuple(its.items())) for other, its in _of_the_package())
    for other, items in sorted(others, key=lambda call: _stem(call[0]) != stem):
        its = dict(items)
        yield other, its
        for name in _whole_numbers(other, its):
            for size in sizes:
                yield other, {**its, name: size}


def _whole_numbers(factory: str, kwargs: Mapping[str, Any]) -> list[str]:
    """Arguments of a factory that are whole numbers; those of the classes last."""
    try:
        parameters = inspect.signature(factories.resolve(factory)).parameters
    except (RunError, TypeError, ValueError):
        return []
    names = [
        name
        for name, parameter in parameters.items()
        for value in [kwargs.get(name, parameter.default)]
        if (isinstance(value, int) and not isinstance(value, bool))
        or parameter.annotation in (int, "int")
    ]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        names.append("num_classes")  # as torchvision's builders hand it on
    return sorted(dict.fromkeys(names), key=lambda name: "class" in name)


def _of_the_package() -> Iterator[Call]:
    for zoo in presets("zoos"):
        for model in load_zoo(zoo).models:
            yield model.factory, dict(model.kwargs)
    for preset in presets():
        run = load_run(preset)
        yield run.model.factory, dict(run.model.kwargs)


def _stem(factory: str) -> str:
    """Module and the letters that a callable's name begins with."""
    place, _, name = factory.rpartition(":")
    begun = re.match(r"[A-Za-z]+", name)
    return f"{place}:{begun[0] if begun else name}"


def _last_sizes(mappings: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Numbers of outputs that the last weights of the largest mapping have, the last first."""
    largest = max(mappings.values(), key=len)
    last = [value for value in largest.values() if isinstance(value, Tensor) and value.ndim > 0]
    return list(dict.fromkeys(int(value.shape[0]) for value in reversed(last[-_LAST:])))


def _expected(factory: str, kwargs: dict[str, Any]) -> Mapping[str, Any] | None:
    """The tensors of a network that was built without weights; None if it cannot be."""
    try:
        # A builder that reads its own weights warns of each that a network without memory ignores.
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = factories.call(factory, kwargs)
    except RunError:
        return None
    return model.state_dict() if isinstance(model, nn.Module) else None


def _counted(expected: Mapping[str, Any]) -> int:
    return sum(name.endswith("num_batches_tracked") for name in expected)
