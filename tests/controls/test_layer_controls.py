import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ddp_tasks.controls import layer_controls as module
from ddp_tasks.controls.bases import channels, principal_components
from ddp_tasks.controls.basis_measures import Asked, class_pairs
from ddp_tasks.controls.layer_controls import Drawn, layer_controls
from ddp_tasks.controls.layer_images import LayerImages
from ddp_tasks.controls.rivals import codes
from ddp_tasks.significance.splits import split_images
from schemas.control_variables import MEASURES
from schemas.variables import validate

BOTH = ("positive", "negative")
TESTS_OF_CLASSES = ("eta_squared_best", "eta_squared_signals_best", "exclusive")


def asked(target, directions=BOTH, share=0.5, percentage=75.0):
    classes = int(target.max()) + 1
    part = split_images(target, share, 0)
    images = LayerImages.of(target, part, np.ones(len(target), dtype=bool), classes)
    pairs = class_pairs(images.images[-1], 100, np.random.default_rng(0))
    groups = np.zeros((0, classes), dtype=bool)
    return Asked(images, 0.9, percentage, directions, groups, pairs, 0.95)


def left_vectors(rank, channels=None):
    random = np.random.default_rng(7)
    return np.linalg.qr(random.normal(size=(channels or rank, rank)))[0]


def controls_of(signals, target, *, draws=40, rivals=(), layer="layer", seed=0, **questions):
    U = left_vectors(signals.shape[1])
    drawn = Drawn(draws, draws, rivals, seed)
    found = layer_controls(layer, signals.astype(np.float32), U, asked(target, **questions), drawn)
    return validate(found, "controls").isel(layer=0)


def of_classes(classes=4, vectors=12, images=40, strength=3.0, seed=0):
    """Signals of which the first are for one class each, and the others for nothing."""
    random = np.random.default_rng(seed)
    target = np.repeat(np.arange(classes), images)
    signals = random.normal(size=(len(target), vectors))
    signals[:, :classes] *= 0.2
    signals[np.arange(len(target)), target] += strength
    return signals, target


def test_a_basis_of_the_classes_is_beyond_its_rotations():
    signals, target = of_classes()
    found = controls_of(signals, target)
    for kind in ("percentile", "percentile_variance"):
        for measure in TESTS_OF_CLASSES:
            assert found[kind].sel(measure=measure) >= 97.5, (kind, measure)
    assert found["value"].sel(measure="exclusive") == 4
    assert found["permutation_p"].sel(measure="eta_squared_best") == pytest.approx(1 / 41)
    # The same basis turned by chance is one among its rotations.
    random = np.random.default_rng(1)
    turned = signals @ np.linalg.qr(random.normal(size=(12, 12)))[0]
    of_turned = controls_of(turned, target)
    assert (of_turned["percentile"].sel(measure=list(TESTS_OF_CLASSES)) < 95).all()


def test_percentiles_are_uniform_where_no_basis_is_special():
    found = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        target = np.repeat(np.arange(3), 20)
        # The classes lie in directions drawn at random, and the noise is the same in all.
        means = random.normal(size=(3, 5))
        signals = means[target] + random.normal(size=(60, 5))
        found.append(controls_of(signals, target, layer=f"layer{seed}", draws=20)["percentile"])
    percentiles = xr.concat(found, "seed").sel(measure="eta_squared_signals_best")
    assert stats.kstest(percentiles, stats.uniform(0, 100).cdf).pvalue > 1e-3


def test_without_classes_the_permutations_say_so():
    p = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        target = np.repeat(np.arange(3), 16)
        signals = random.normal(size=(48, 4))
        found = controls_of(
            signals,
            target,
            draws=39,
            layer=f"layer{seed}",
            directions=("positive",),
            percentage=20.0,
        )
        p.append(found["permutation_p"])
        expected, own = found["permutation"].sel(measure="incidences").mean(), found["value"]
        assert abs(expected - own.sel(measure="incidences")) < 8
    false = (xr.concat(p, "seed") <= 0.05).mean("seed")
    # 60 layers: at most 5 %, and three standard errors.
    assert (false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)).all()
    by_signals = xr.concat(p, "seed").sel(measure="eta_squared_signals_mean")
    assert stats.kstest(by_signals, stats.uniform(0, 1).cdf).pvalue > 1e-3


def test_expected_incidences_by_chance_follow_the_binomial_distribution():
    # Of ten images a class, at least half must be among the tenth with the greatest signals.
    random = np.random.default_rng(0)
    target = np.repeat(np.arange(20), 10)
    found = controls_of(
        random.normal(size=(200, 30)), target,
        draws=200, share=None, directions=("positive",), percentage=50.0,
    )  # fmt: skip
    # A vector's own share of signals beyond q is near 0.1; its 20 classes draw without replacement.
    by_chance = found["permutation"].sel(measure="incidences")
    expected = 20 * 30 * stats.binom.sf(4, 10, 0.1)
    assert float(by_chance.mean()) == pytest.approx(expected, abs=0.6)


def test_other_bases_of_the_same_outputs():
    U = left_vectors(3, channels=5)
    np.testing.assert_array_equal(channels(U), U.T)
    random = np.random.default_rng(0)
    signals = random.normal(size=(50, 3)) * [1, 3, 2]
    components = principal_components(np.cov(signals, rowvar=False), U)
    along = np.cov(signals @ components, rowvar=False)
    np.testing.assert_allclose(along - np.diag(np.diag(along)), 0, atol=1e-12)
    assert (np.diff(np.diag(along)) < 0).all()
    in_channels = U @ components
    largest = np.abs(in_channels).argmax(axis=0)
    assert (in_channels[largest, range(3)] > 0).all()


def test_a_layer_of_rank_one_has_no_rotations():
    found = controls_of(np.arange(40.0)[:, None], np.arange(40) % 2)
    for name in ("rotation", "variance_rotation", "percentile", "percentile_variance"):
        assert np.isnan(found[name]).all(), name
    assert np.isfinite(found["value"].sel(measure="nodes"))
    assert np.isfinite(found["permutation_p"].sel(measure="nodes"))


def test_a_layer_of_rank_two_has_no_rotations_that_keep_variances():
    signals, target = of_classes(classes=2, vectors=2)
    found = controls_of(signals, target)
    assert np.isfinite(found["rotation"].sel(measure="nodes")).all()
    assert np.isnan(found["variance_rotation"]).all()


def test_draws_depend_on_seed_and_layer_alone(monkeypatch):
    signals, target = of_classes(strength=1.0)
    found = controls_of(signals, target)
    for changed in ({"seed": 1}, {"layer": "other"}):
        other = controls_of(signals, target, **changed)
        np.testing.assert_array_equal(other["value"], found["value"])
        for name in ("rotation", "variance_rotation", "permutation"):
            assert not np.array_equal(other[name], found[name], equal_nan=True)
    fewer = controls_of(signals, target, draws=10)
    np.testing.assert_array_equal(fewer["rotation"], found["rotation"][:, :10])
    monkeypatch.setattr(module, "_BYTES", 1)
    monkeypatch.setattr("ddp_tasks.controls.basis_measures._BYTES", 1)
    xr.testing.assert_identical(controls_of(signals, target)["rotation"], found["rotation"])


def test_too_few_rotations_have_no_percentile(monkeypatch):
    signals, target = of_classes()
    assert np.isnan(controls_of(signals, target, draws=19)["percentile"]).all()
    monkeypatch.setattr(module, "_SECONDS", 0.004)
    spared = controls_of(signals, target)
    there = np.isfinite(spared["rotation"].sel(measure="nodes"))
    assert 0 < int(there.sum()) < 40
    assert np.isnan(spared["percentile"]).all() == (int(there.sum()) < 20)


def test_no_draws_leave_bases_alone():
    signals, target = of_classes()
    found = controls_of(signals, target, draws=0)
    assert found.sizes["draw"] == found.sizes["permutation"] == 0
    assert np.isnan(found["percentile"]).all()
    assert np.isnan(found["permutation_p"]).all()
    assert np.isfinite(found["channels"].sel(measure="nodes"))


@pytest.mark.parametrize("rival", ["nmf", "dictionary"])
def test_rivals_find_parts_of_which_each_class_has_its_own(rival):
    # Outputs that are sums of parts: each class has one, and every image a little of all.
    random = np.random.default_rng(0)
    target = np.repeat(np.arange(4), 40)
    parts = np.abs(random.normal(size=(4, 8)))
    amounts = random.uniform(0, 0.3, (160, 4))
    amounts[np.arange(160), target] += 2
    outputs = (amounts @ parts).astype(np.float32)
    found = codes(rival, outputs, slice(0, 160), 4, 0)
    assert found.shape == (160, 4)
    assert (found >= 0).all()
    found /= found.max(axis=0)  # parts have no scale of their own
    strongest = [np.bincount(found[target == c].argmax(axis=1), minlength=4) for c in range(4)]
    assert {int(of.argmax()) for of in strongest} == {0, 1, 2, 3}
    assert min(of.max() for of in strongest) > 30
    again = codes(rival, outputs, slice(0, 160), 4, 0)
    np.testing.assert_array_equal(again / again.max(axis=0), found)


def test_rivals_are_measured_and_left_out_where_they_take_too_long(monkeypatch):
    signals, target = of_classes()
    found = controls_of(signals, target, rivals=("nmf", "dictionary"), draws=0)
    assert found["rival"].to_numpy().tolist() == ["nmf", "dictionary"]
    assert np.isfinite(found["rivals"].sel(measure="eta_squared_best")).all()
    assert found["rivals"].sel(rival="nmf", measure="eta_squared_signals_best") > 0.3
    # Codes are not negative: half as many nodes are possible.
    assert (found["rivals"].sel(measure="nodes") <= 12).all()
    monkeypatch.setattr("ddp_tasks.controls.rivals.MOST_WORK", 10)
    spared = controls_of(signals, target, rivals=("nmf",), draws=0)
    assert np.isnan(spared["rivals"]).all()
    assert list(spared["measure"].to_numpy()) == list(MEASURES)
