"""Wrong shapes are refused while tests run, wherever an annotation has a shape."""

import importlib
import inspect
import pkgutil
import re
import typing

import annotated_shapes
import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from nodes import nodes

from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.signals.signals import signals_of_means
from ddp_tasks.significance.significance import discrimination
from ddp_tasks.weights.tensor_svd import Spectrum, signs

SHAPED = re.compile(r"\b(Bool|Float|Float64|Inexact|Int64|Shaped)\[")


def _mean(n=5, d=3, dtype=torch.float64):
    return torch.zeros(n, d, dtype=dtype)


@pytest.mark.parametrize(
    "call",
    [
        # Another number of channels in the means than in U.
        lambda: signals_of_means(_mean(d=4), None, _mean(3, 2)),
        lambda: signals_of_means(_mean(), torch.zeros(2), _mean(3, 2)),
        # U must be float64, or signals lose digits.
        lambda: signals_of_means(_mean(), None, _mean(3, 2, torch.float32)),
        lambda: signs(torch.zeros(3)),
        # One singular value, two blocks.
        lambda: Spectrum(torch.ones(1, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)),
        # Images of three classes beside fractions of two.
        lambda: discrimination(np.zeros((2, 4), np.float32), np.ones(3, np.int64)),
        lambda: hypergraph(
            np.zeros((2, 4), bool), np.zeros((4, 2), np.float32), ["a", "b"], nodes(np.ones(4))
        ),
    ],
)
def test_a_wrong_shape_is_refused(call):
    with pytest.raises(TypeCheckError, match="Type-check error whilst checking"):
        call()


def test_right_shapes_pass():
    assert signals_of_means(_mean(), torch.zeros(3), _mean(3, 2)).shape == (5, 2)


def _callables(names, module):
    """Functions of a module, and methods and constructors of its classes, unwrapped."""
    for member in list(names.values()):
        if getattr(member, "__module__", None) != module:
            continue
        functions = vars(member).values() if inspect.isclass(member) else [member]
        yield from (inspect.unwrap(f) for f in functions if inspect.isfunction(f))


@pytest.mark.parametrize("room", annotated_shapes.ROOMS)
def test_no_shape_goes_unchecked(room):
    # An annotation that cannot be resolved would be taken for Any.
    shapes = 0
    for module in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}."):
        names = vars(importlib.import_module(module.name))
        for function in _callables(names, module.name):
            if SHAPED.search(str(function.__annotations__)):
                typing.get_type_hints(function)  # raises NameError
                shapes += 1
    assert shapes
