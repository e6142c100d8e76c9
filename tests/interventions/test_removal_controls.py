import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_tasks.interventions.removal_controls import (
    ENERGY_TOLERANCE,
    LayerBasis,
    controls,
    equal_energy_subspace,
    random_subspace,
    singular_set,
)
from schemas.ablation_variables import CONTROLS


def basis_of(d, r, seed=0, images=50):
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((d, r)))[0]
    values = np.sort(rng.uniform(0.1, 5, r))[::-1]
    signals = (rng.standard_normal((images, r)) * values + rng.normal(size=r)).astype(np.float32)
    return LayerBasis.of(U, values, signals), signals


def orthonormal(directions):
    m = directions.shape[1]
    np.testing.assert_allclose(directions.T @ directions, np.eye(m), atol=1e-10)
    return True


def test_energies_are_sums_over_images():
    basis, signals = basis_of(7, 5)
    outputs = signals.astype(np.float64) @ basis.U.T
    taken = singular_set(basis, [1, 3])
    assert taken.kind == "singular"
    expected = (signals[:, [1, 3]].astype(np.float64) ** 2).sum()
    assert taken.energy == pytest.approx(expected, rel=1e-12)
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((7, 3)))[0]
    assert basis.energy(directions) == pytest.approx(((outputs @ directions) ** 2).sum(), rel=1e-12)
    # Images that do not reach the layer have no signals.
    gone = np.concatenate([signals, np.full((2, 5), np.nan, dtype=np.float32)])
    np.testing.assert_array_equal(
        LayerBasis.of(basis.U, basis.singular_values, gone).moments, basis.moments
    )


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 6), st.integers(0, 10**6), st.data())
def test_controls_are_as_many_orthonormal_directions(r, more, seed, data):
    basis, _ = basis_of(r + more, r, seed)
    m = data.draw(st.integers(1, r))
    members = np.sort(np.random.default_rng(seed).choice(r, m, replace=False)).tolist()
    drawn, absent = controls(basis, members, 3, np.random.default_rng(seed))
    own = singular_set(basis, members)
    by_kind = {kind: [c for c in drawn if c.kind == kind] for kind in CONTROLS}
    for kind, sets in by_kind.items():
        assert len(sets) == (0 if kind in absent else 1 if kind == "matched" else 3)
        assert [c.draw for c in sets] == list(range(len(sets)))
        for control in sets:
            assert control.directions.shape == (r + more, m)
            assert orthonormal(control.directions)
            assert control.energy == pytest.approx(basis.energy(control.directions))
    assert ("matched" in absent) == (2 * m > r)
    assert ("rotation" in absent) == ("random" in absent) == (m == r)
    assert ("channels" in absent) == (m == r + more)
    for control in by_kind["random"]:
        assert control.energy == pytest.approx(own.energy, rel=ENERGY_TOLERANCE)
    for control in (*by_kind["rotation"], *by_kind["random"]):
        # Within the span of the singular vectors.
        inside = basis.U @ (basis.U.T @ control.directions)
        np.testing.assert_allclose(inside, control.directions, atol=1e-10)
    if m < r:
        spans = [c.directions @ c.directions.T for c in by_kind["rotation"]]
        assert not np.allclose(spans[0], spans[1])


def test_random_directions_of_one_energy_differ_where_there_are_several():
    # A set of the greatest energy of all has none beside itself; this one has many.
    basis, _ = basis_of(10, 8)
    drawn, _ = controls(basis, [2, 5], 3, np.random.default_rng(0))
    spans = [c.directions @ c.directions.T for c in drawn if c.kind == "random"]
    assert not np.allclose(spans[0], spans[1])


def test_matched_vectors_are_others_of_the_nearest_singular_values():
    basis, _ = basis_of(6, 6)
    values = np.array([9.0, 5, 4.9, 3, 1.1, 1])
    basis = LayerBasis(basis.U, values, basis.moments)
    (matched, *_), absent = controls(basis, [1, 4], 0, np.random.default_rng(0))
    assert absent == {}
    np.testing.assert_array_equal(matched.directions, basis.U[:, [2, 5]])


def test_a_layer_of_one_vector_says_which_controls_there_are_none_of():
    basis, _ = basis_of(3, 1)
    drawn, absent = controls(basis, [0], 2, np.random.default_rng(0))
    assert [c.kind for c in drawn] == ["channels", "channels"]
    assert absent == {
        "matched": "0 of 1 vectors are left beside 1",
        "rotation": "all 1 singular vectors are removed",
        "random": "all 1 singular vectors are removed",
    }


def test_subspaces_of_extreme_energy_are_found_too():
    rng = np.random.default_rng(0)
    moments = np.diag([1000.0, 30, 20, 1, 0.01])
    for energy, m in ((1000, 1), (0.0101, 1), (1030, 2), (1.02, 2), (500, 1), (40, 3)):
        found = equal_energy_subspace(moments, m, energy, rng)
        assert orthonormal(found)
        told = np.einsum("im,ij,jm->", found, moments, found)
        assert told == pytest.approx(energy, rel=ENERGY_TOLERANCE)
    assert equal_energy_subspace(np.zeros((3, 3)), 1, 0.0, rng) is None


def test_random_subspaces_prefer_no_direction():
    rng = np.random.default_rng(0)
    mean = np.mean([Q @ Q.T for Q in (random_subspace(4, 2, rng) for _ in range(2000))], axis=0)
    # Of 2,000 projections of rank 2 in 4 dimensions: mean I / 2, standard error below 0.01.
    np.testing.assert_allclose(mean, np.eye(4) / 2, atol=0.04)
