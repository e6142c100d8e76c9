import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from power_law_reference import power_law, power_laws
from strategies import SEEDS

from ddp_tasks.capacity.power_law import (
    MINIMUM_DISTINCT,
    RIVAL_DISTANCE,
    RIVAL_LENGTH,
    Refusal,
    fit_power_law,
)

# The reference adds its logarithms exactly; here they are added in float64.
ROUNDING = 1e-11


def _values(seed, n, kind):
    generator = np.random.default_rng(seed)
    if kind == "pareto":
        return generator.pareto(generator.uniform(0.3, 6), n) + 1
    if kind == "duplicates":
        return generator.integers(1, max(2, n // 3), n).astype(float)
    return generator.exponential(size=n) ** 2


samples = st.builds(
    _values, SEEDS, st.integers(4, 150), st.sampled_from(["pareto", "duplicates", "squares"])
)


@given(samples)
def test_it_is_what_slow_loops_find(values):
    assume(len(set(values.tolist())) >= MINIMUM_DISTINCT)
    found = fit_power_law(values)
    alpha, xmin, D, tail = power_law(values.tolist())
    assert found.fitted
    assert pytest.approx(D, abs=1e-13) == found.D
    # Two xmin can tie to rounding, and then either may win.
    if found.xmin == xmin:
        assert found.alpha == pytest.approx(alpha, rel=ROUNDING)
        assert found.tail == tail


@pytest.mark.parametrize(("n", "kind"), [(3000, "pareto"), (3000, "squares"), (5000, "duplicates")])
def test_skipped_tails_are_never_the_best(n, kind):
    # Long enough for three grids of bounds.
    values = _values(7, n, kind)
    found = fit_power_law(values)
    ordered = np.sort(values)
    distinct, below = np.unique(ordered, return_index=True)
    logs = np.log(ordered)
    D = []
    for xmin, first in zip(distinct[:-2], below[:-2], strict=True):
        tail = n - first
        exponent = tail / (logs[first:] - np.log(xmin)).sum()
        at = distinct >= xmin
        D.append(np.abs(1 - (distinct[at] / xmin) ** -exponent - (below[at] - first) / tail).max())
    assert pytest.approx(min(D), abs=1e-12) == found.D
    assert found.xmin == distinct[int(np.argmin(D))]


def test_four_values_by_hand():
    # Candidates are 1 and 2. xmin = 1: Σ ln = 0 + 1 + 2 + 3 (in units of ln 2), α - 1 =
    # 4 / (6 ln 2), so x^-(α - 1) = e^(-2/3) a step: D at the values is |0 - 0|,
    # |1 - e^(-2/3) - 1/4|, |1 - e^(-4/3) - 1/2|, |1 - e^(-2) - 3/4|. xmin = 2: Σ ln = 0 + 1 + 2,
    # α - 1 = 3 / (3 ln 2), e^-1 a step: |1 - e^-1 - 1/3|, |1 - e^-2 - 2/3|.
    first = max(abs(1 - math.exp(-2 / 3 * i) - i / 4) for i in range(4))
    second = max(abs(1 - math.exp(-i) - i / 3) for i in range(3))
    assert first < second
    found = fit_power_law([8, 1, 4, 2])
    assert found.xmin == 1
    assert found.alpha == pytest.approx(1 + 4 / (6 * math.log(2)), rel=ROUNDING)
    assert pytest.approx(first, rel=ROUNDING) == found.D
    assert found.tail == 4
    assert found.sigma == pytest.approx((found.alpha - 1) / 2, rel=ROUNDING)


@given(samples)
def test_the_rival_is_the_best_tail_of_quite_another_length(values):
    assume(len(set(values.tolist())) >= MINIMUM_DISTINCT)
    found = fit_power_law(values)
    tails = {tail: (D, alpha) for alpha, _, D, tail in power_laws(values.tolist())}
    others = {
        n: fit
        for n, fit in tails.items()
        if n * RIVAL_LENGTH <= found.tail or n >= RIVAL_LENGTH * found.tail
    }
    allowed = {n: fit for n, fit in others.items() if fit[0] < RIVAL_DISTANCE * found.D - 1e-12}
    if found.rival_tail:
        D, alpha = tails[found.rival_tail]
        assert found.rival_tail in others
        assert min(D for D, _ in others.values()) + 1e-12 >= D
        assert found.rival_alpha == pytest.approx(alpha, rel=ROUNDING)
    else:
        assert not allowed
        assert math.isnan(found.rival_alpha)
        assert not found.unstable


def test_an_exponent_that_jumps_between_tails_is_unstable():
    # Squares of exponential values follow no power law: the shorter the tail, the steeper it is.
    found = fit_power_law(np.random.default_rng(5).exponential(size=4096) ** 2)
    assert found.rival_tail * RIVAL_LENGTH <= found.tail
    assert found.rival_alpha > found.alpha + 2 * found.sigma
    assert found.unstable
    # Of exact quantiles of a power law every tail is a power law, but the longest fits best.
    steady = fit_power_law((1 - (np.arange(400) + 0.5) / 400) ** -1.0)
    assert not steady.unstable


@given(samples)
def test_copies_count_once_for_the_standard_error_and_change_nothing_else(values):
    assume(len(set(values.tolist())) >= MINIMUM_DISTINCT)
    twice = np.repeat(np.unique(values), 2)
    assume(fit_power_law(twice).fitted)
    plain, known = fit_power_law(twice), fit_power_law(twice, copies=True)
    assert (known.alpha, known.xmin, known.D, known.tail) == (
        plain.alpha,
        plain.xmin,
        plain.D,
        plain.tail,
    )
    assert (plain.independent, known.independent) == (plain.tail, plain.tail // 2)
    assert known.sigma == pytest.approx(plain.sigma * math.sqrt(2))


@pytest.mark.parametrize("alpha", [1.5, 2.5, 3.5, 8.0])
def test_the_exponent_of_pareto_samples_is_recovered(alpha):
    # No cap at 3. The tail found is some of the sample, so sigma is that of the tail; five
    # standard errors leave room for xmin being chosen by the same values.
    for seed in range(5):
        values = np.random.default_rng(seed).pareto(alpha - 1, 3000) + 1
        found = fit_power_law(values)
        assert abs(found.alpha - alpha) < 5 * found.sigma
        assert found.sigma == (found.alpha - 1) / math.sqrt(found.tail)


@given(samples, st.integers(-300, 300))
def test_the_unit_of_the_values_does_not_matter(values, power):
    assume(len(set(values.tolist())) >= MINIMUM_DISTINCT)
    found, scaled = fit_power_law(values), fit_power_law(values * 2.0**power)
    assert pytest.approx(found.D, abs=1e-12) == scaled.D
    if scaled.xmin == found.xmin * 2.0**power:
        assert scaled.alpha == pytest.approx(found.alpha, rel=1e-9)
        assert scaled.tail == found.tail


@given(samples, SEEDS)
def test_order_zeros_and_negatives_do_not_matter(values, seed):
    added = np.concatenate([values, [0.0, -1.0, -0.0]])
    np.random.default_rng(seed).shuffle(added)
    found = fit_power_law(added)
    assert found.dropped == 3
    assert found.values == len(values)
    expected = fit_power_law(values)
    if expected.fitted:
        assert (found.alpha, found.xmin, found.D) == (expected.alpha, expected.xmin, expected.D)


@given(samples, st.integers(1, 200))
def test_fewer_candidates_never_fit_better(values, candidates):
    all_tried, some = fit_power_law(values, None), fit_power_law(values, candidates)
    assert some.refusal == all_tried.refusal
    if all_tried.fitted:
        assert some.D >= all_tried.D
        assert some.xmin in values
        if candidates >= len(values):
            assert some == all_tried


def test_short_tails_are_tried_among_many_values():
    values = np.concatenate([np.random.default_rng(0).exponential(size=100_000), [1e3]])
    few, everything = fit_power_law(values, 1000), fit_power_law(values, None)
    assert few.alpha == pytest.approx(everything.alpha, abs=everything.sigma)


@pytest.mark.parametrize(
    ("values", "refusal", "dropped"),
    [
        ([1.0, math.nan, 2.0], Refusal.NOT_FINITE, 0),
        ([1.0, math.inf], Refusal.NOT_FINITE, 0),
        ([], Refusal.NO_POSITIVE, 0),
        ([0.0, -1.0], Refusal.NO_POSITIVE, 2),
        ([2.0] * 100, Refusal.ALL_EQUAL, 0),
        ([5.0, 0.0], Refusal.ALL_EQUAL, 1),
        ([1.0, 2.0, 3.0] * 10, Refusal.TOO_FEW, 0),
    ],
)
def test_what_has_no_power_law_is_refused_by_name(values, refusal, dropped):
    found = fit_power_law(values)
    assert found.refusal is refusal
    assert not found.fitted
    assert found.dropped == dropped
    assert found.tail == 0
    assert all(math.isnan(x) for x in (found.alpha, found.xmin, found.D, found.sigma))


def test_values_next_to_one_another_are_told_apart():
    values = [np.nextafter(1, 2), np.nextafter(1, 0), 1.0, 2.0, 2.0]
    assert fit_power_law(values).fitted
    found = fit_power_law(1 + np.arange(10) * np.finfo(float).eps)
    assert found.alpha > 1e14
    assert np.isfinite(found.alpha)


def _of_package(values):
    """The fit of the package powerlaw, with the exponent free: unasked it refuses any above 3."""
    powerlaw = pytest.importorskip("powerlaw", minversion="2.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return powerlaw.Fit(values, parameter_ranges={"alpha": [0, 1e6]}, verbose=0)


@pytest.mark.parametrize("kind", ["pareto", "duplicates", "squares"])
@pytest.mark.parametrize("n", [40, 200])
def test_it_agrees_with_the_powerlaw_package(n, kind):
    values = _values(3, n, kind)
    expected = _of_package(values)
    found = fit_power_law(values)
    # Beyond 1.5 to 3 the package searches for α numerically, to about 1e-4.
    assert found.alpha == pytest.approx(expected.alpha, rel=5e-3)
    assert found.xmin == expected.xmin
    assert pytest.approx(expected.D, abs=1e-3) == found.D


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_it_agrees_with_the_powerlaw_package_on_every_layer_of_a_resnet(depth):
    pytest.importorskip("powerlaw", minversion="2.0")
    path = Path(os.environ.get("DDP_MODELS", "models")) / f"cifar10_resnet{depth}.pt"
    if not path.exists():
        pytest.skip(f"{path} is not there; DDP_MODELS names the folder of the checkpoints")
    weights = torch.load(path, weights_only=True)
    layers = {name: W for name, W in weights.items() if W.ndim in (2, 4)}
    assert len(layers) == depth
    for name, W in layers.items():
        values = torch.linalg.svdvals(W.double().flatten(1)).square().numpy()
        found, expected = fit_power_law(values), _of_package(values)
        assert found.alpha == pytest.approx(expected.alpha, rel=5e-3), name
