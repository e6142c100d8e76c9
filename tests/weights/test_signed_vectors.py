import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from nodes import nodes

from ddp_tasks.weights.signed_vectors import (
    DIRECTIONS,
    SignedVector,
    by_nodes,
    interleaved,
    signed_vector,
    signs,
)

SIGNED = st.builds(SignedVector, st.integers(0, 9), st.sampled_from([1, -1]))


def test_both_directions_of_a_vector_stand_together():
    both = nodes([3.0, 2.0], directions=DIRECTIONS)
    assert [both.name(i) for i in range(len(both))] == ["v0⁺", "v0⁻", "v1⁺", "v1⁻"] == both.names
    assert both.singular_values.tolist() == [3, 3, 2, 2]
    assert both[3] == SignedVector(1, -1)
    assert [member.direction for member in (both[2], both[3])] == ["positive", "negative"]


def test_positive_vectors_alone_have_the_papers_names_and_negative_ones_theirs():
    positive, negative = (nodes([3.0, 2.0], directions=(one,)) for one in DIRECTIONS)
    assert [positive.name(i) for i in (0, 1)] == ["v0", "v1"] == positive.names
    assert [negative.name(i) for i in (0, 1)] == ["v0⁻", "v1⁻"] == negative.names
    assert negative[1] == SignedVector(1, -1)


@given(st.integers(0, 3), st.integers(0, 4))
def test_what_is_stored_by_direction_comes_back_by_node(classes, vectors):
    values = np.arange(classes * vectors * 2).reshape(classes, vectors, 2)
    stored = xr.DataArray(values, dims=("target_class", "singular_vector", "direction"))
    found = by_nodes(
        stored.transpose("direction", "target_class", "singular_vector"), "target_class"
    )
    np.testing.assert_array_equal(found, interleaved([values[..., 0], values[..., 1]]))
    for node in range(2 * vectors):
        vector, sign = signed_vector(node, DIRECTIONS)
        np.testing.assert_array_equal(found[:, node], values[:, vector, int(sign < 0)])


@given(st.lists(SIGNED, min_size=1))
def test_opposite_directions_cancel_unless_nothing_would_be_left(members):
    found = signs(members)
    assert list(found) == sorted(found)
    both = {m.vector for m in members if SignedVector(m.vector, -m.sign) in members}
    single = {m.vector: m.sign for m in members if m.vector not in both}
    assert found == (single or dict.fromkeys(both, 1))
