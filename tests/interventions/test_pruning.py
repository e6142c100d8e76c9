"""Which vectors pruned layers keep, beside a search through all possibilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.interventions.pruning import (
    RankedLayer,
    chosen_vectors,
    least_parameters,
    random_vectors,
)
from ddp_tasks.networks.factorised_layers import Factorisable


def layer(name, rows, columns, groups=1):
    return Factorisable(name, (name,), groups, rows, columns)


@st.composite
def ranked_layers(draw):
    layers = []
    for number in range(draw(st.integers(1, 3))):
        groups = draw(st.integers(1, 2))
        rows, columns = draw(st.integers(2, 5)), draw(st.integers(3, 6))
        ranks = min(rows, columns)
        drawn = draw(st.lists(st.integers(0, 9), min_size=ranks * groups, max_size=ranks * groups))
        energies = np.array(drawn, dtype=np.float64)
        one = layer(f"l{number}", rows, columns, groups)
        layers.append(RankedLayer.of(one, np.repeat(np.arange(groups), ranks), energies))
    return layers


def parameters(layers, kept):
    return sum(
        len(kept[r.layer.module]) * (r.layer.rows + r.layer.columns)
        if r.layer.module in kept
        else r.layer.parameters
        for r in layers
    )


def product(layers, kept):
    shares = [
        r.share[len(kept[r.layer.module]) // r.layer.groups - 1] if r.layer.module in kept else 1.0
        for r in layers
    ]
    return float(np.prod(shares))


def best_alone(ranked, price):
    """The number of vectors of one layer with the best logarithm of its share less the price."""

    def worth(rows):
        if rows > ranked.most:
            return -price * ranked.layer.parameters
        return np.log(ranked.share[rows - 1]) - price * rows * ranked.layer.step

    return max(range(1, ranked.most + 2), key=worth)


@given(ranked_layers(), st.floats(1e-4, 1, exclude_max=True))
def test_no_choice_of_as_many_parameters_keeps_more(layers, price):
    # With a price for parameters each layer has its best number of vectors alone, and no choice
    # of all layers with as many parameters, or fewer, is better: Everett 1963.
    best = {
        r.layer.module: r.order[:rows].ravel()
        for r in layers
        if (rows := best_alone(r, price)) <= r.most
    }
    kept = chosen_vectors(layers, parameters(layers, best))
    assert parameters(layers, kept) <= parameters(layers, best)
    assert product(layers, kept) >= product(layers, best) * (1 - 1e-9)


@given(ranked_layers(), st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_more_parameters_never_keep_less_energy(layers, shares):
    least = least_parameters([r.layer for r in layers])
    most = sum(r.layer.parameters for r in layers)
    small, large = sorted(least + round(share * (most - least)) for share in shares)
    one, other = chosen_vectors(layers, small), chosen_vectors(layers, large)
    assert product(layers, other) >= product(layers, one) * (1 - 1e-9)
    assert chosen_vectors(layers, most) == {}


def test_the_best_choice_is_found_by_hand():
    # a: 2 x 4, one vector costs 6 of 8; b: 4 x 4, a vector costs 8 of 16.
    a = RankedLayer.of(layer("a", 2, 4), np.zeros(2, dtype=int), np.array([3.0, 1.0]))
    b = RankedLayer.of(layer("b", 4, 4), np.zeros(4, dtype=int), np.array([1.0, 5.0, 1.0, 1.0]))
    assert a.share.tolist() == [0.75, 1.0]
    assert b.order.ravel().tolist() == [1, 0, 2, 3]
    # One vector each: 14. Whole a costs 2 more for ln(4/3), whole b 8 more for ln(8/5): a first.
    assert {k: v.tolist() for k, v in chosen_vectors([a, b], 15).items()} == {"a": [0], "b": [1]}
    assert {k: v.tolist() for k, v in chosen_vectors([a, b], 16).items()} == {"b": [1]}
    assert {k: v.tolist() for k, v in chosen_vectors([a, b], 23).items()} == {"b": [1]}
    assert chosen_vectors([a, b], 24) == {}
    with pytest.raises(ValueError, match="13 parameters; one vector a layer needs 14"):
        chosen_vectors([a, b], 13)


def test_blocks_keep_as_many_vectors_each():
    grouped = layer("g", 4, 9, groups=2)
    block = np.array([0, 1, 1, 0, 0, 1, 1])  # of ranks 3 and 4
    energy = np.array([1.0, 2, 3, 4, 5, 6, 7])
    ranked = RankedLayer.of(grouped, block, energy)
    assert ranked.order.tolist() == [[4, 6], [3, 5], [0, 2]]
    np.testing.assert_allclose(ranked.share, np.array([12, 22, 26]) / 28)
    kept = chosen_vectors([ranked], 2 * 26)["g"]
    assert kept.tolist() == [4, 6, 3, 5]
    drawn = random_vectors([ranked], {"g": kept}, seed=0)["g"]
    assert np.bincount(block[drawn]).tolist() == [2, 2]


def test_a_layer_without_energy_counts_its_vectors_alike():
    ranked = RankedLayer.of(layer("dead", 3, 9), np.zeros(3, dtype=int), np.zeros(3))
    assert ranked.order.ravel().tolist() == [0, 1, 2]
    np.testing.assert_allclose(ranked.share, [1 / 3, 2 / 3, 1])


def test_random_vectors_are_drawn_from_all_and_by_seed():
    ranked = RankedLayer.of(layer("w", 20, 30), np.zeros(20, dtype=int), np.arange(20.0))
    kept = chosen_vectors([ranked], 5 * 50)
    assert kept["w"].tolist() == [19, 18, 17, 16, 15]
    draws = [random_vectors([ranked], kept, seed)["w"] for seed in range(40)]
    assert all(len(set(d.tolist())) == 5 for d in draws)
    assert set(np.concatenate(draws).tolist()) == set(range(20))
    assert random_vectors([ranked], kept, 3)["w"].tolist() == draws[3].tolist()
    assert random_vectors([ranked], {}, 3) == {}
