"""Targets of optimised images: their names and their weights."""

import numpy as np
import pytest

from ddp_tasks.visualization.targets import Target


def test_a_target_is_named_after_vectors_direction_and_method() -> None:
    assert Target((7, 14)).key == "v7+v14 positive mean fourier"
    second = Target((0,), (1.0,), "negative", "density", "maco", number=1, images=3)
    assert second.key == "v0 negative density maco 2 of 3"


def test_weights_are_one_over_the_standard_deviation() -> None:
    target = Target((0, 2)).weighted(np.array([2.0, 5.0, 0.5]))
    assert target.weights == (0.5, 2.0)
    assert target.row(4).tolist() == [0.5, 0.0, 2.0, 0.0]


def test_a_vector_that_never_varies_gets_a_finite_weight() -> None:
    assert np.isfinite(Target((0, 1)).weighted(np.array([0.0, 1.0])).weights).all()
    assert np.isfinite(Target((0, 1)).weighted(np.array([0.0, 0.0])).weights).all()


def test_a_target_without_vectors_or_with_too_few_weights_is_refused() -> None:
    for vectors, weights in [((), ()), ((0, 1), (1.0,))]:
        with pytest.raises(ValueError, match="a weight for each"):
            Target(vectors, weights)
