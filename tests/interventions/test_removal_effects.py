import numpy as np
import pytest
import torch
from removals import scores_without
from scipy.stats import ttest_ind
from torch import nn

from ddp_tasks.interventions.removal_effects import ClassDrops, judged, selectivity
from ddp_tasks.networks.tracing import trace_layers


def test_images_are_judged_by_hand():
    scores = np.log(np.array([[[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]], dtype=np.float32))
    found = judged(scores, np.array([0, 1]))
    np.testing.assert_allclose(found, [[[1, 0]], [[0.7, 0.2]]], rtol=1e-6)
    # Outputs 0 and 2 stand for class 1, output 1 for none.
    groups = np.array([1, -1, 1])
    np.testing.assert_allclose(
        judged(scores, np.array([1, 0]), groups), [[[1, 0]], [[0.8, 0]]], rtol=1e-6
    )


def drops_of(fell, target, classes):
    """Drops of the share of images named correctly, where probability falls as much."""
    before = np.ones((2, len(target)))
    return ClassDrops.of(before, before[:, None] - np.stack([fell, fell]), target, classes)


def test_each_other_class_counts_alike():
    target = np.array([0, 0, 1, 1, 1, 1, 2, 2])
    fell = np.array([[0.4, 0.2, 0, 0, 0, 0.4, 0.5, 0.1]])
    drops = drops_of(fell, target, 4)
    np.testing.assert_allclose(drops.drop[1], [[0.3, 0.1, 0.3, np.nan]])
    np.testing.assert_array_equal(drops.images, [2, 4, 2, 0])
    of_first, of_last = selectivity(drops, 0, 0.95), selectivity(drops, 2, 0.95)
    assert of_first.value[1].item() == pytest.approx(0.3 - (0.1 + 0.3) / 2)
    assert of_last.value[1].item() == pytest.approx(0.3 - (0.3 + 0.1) / 2)
    assert np.isnan(selectivity(drops, 3, 0.95).value).all()


def test_the_error_of_probability_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1], [30, 12])
    fell = rng.normal(size=(3, 42))
    drops = drops_of(fell, target, 2)
    for c, rows in ((0, slice(0, 30)), (1, slice(30, 42))):
        expected = fell[:, rows].std(axis=1, ddof=1) / np.sqrt(drops.images[c])
        np.testing.assert_allclose(drops.error[1, :, c], expected)
    found = selectivity(drops, 0, 0.9)
    for removal in range(3):
        welch = ttest_ind(fell[removal, :30], fell[removal, 30:], equal_var=False)
        low, high = welch.confidence_interval(0.9)
        assert found.low[1, removal] == pytest.approx(low)
        assert found.high[1, removal] == pytest.approx(high)


def test_one_image_has_no_spread_and_no_change_still_has_an_interval():
    target = np.array([0, 1, 1])
    drops = drops_of(np.zeros((1, 3)), target, 2)
    found = selectivity(drops, 0, 0.95)
    assert np.isnan(found.low[1]).all()
    assert found.low[0].item() < 0 < found.high[0].item()


def test_intervals_hold_the_selectivity_of_all_images():
    """Coverage over many tables: images fall rarely or often, and few of other classes are seen."""
    rng = np.random.default_rng(1)
    target = np.repeat(np.arange(10), [200, *[22] * 9])
    weight = np.where(np.arange(10) == 0, 1.0, -1 / 9)
    covered = []
    for _ in range(1500):
        loses, gains = rng.beta(0.4, 4, size=10), rng.beta(0.4, 12, size=10)
        loses = loses / np.maximum(1, loses + gains)
        drawn = rng.random(len(target))
        fell = (drawn < loses[target]).astype(float) - (drawn > 1 - gains[target])
        lost = rng.beta(1 + 8 * loses[target], 6)
        expected = (1 + 8 * loses) / (7 + 8 * loses)
        before = np.ones((2, len(target)))
        drops = ClassDrops.of(before, before[:, None] - np.stack([[fell], [lost]]), target, 10)
        found = selectivity(drops, 0, 0.95)
        truth = np.array([[(loses - gains) @ weight], [expected @ weight]])
        covered.append((found.low <= truth) & (truth <= found.high))
    accuracy, probability = np.array(covered)[..., 0].mean(axis=0)
    assert accuracy >= 0.95
    assert probability >= 0.94


class KnownDirections(nn.Module):
    """Its layer rotates the input, and class k is the one whose rotated direction is excited."""

    def __init__(self, rotation):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.layer.weight.data = rotation * torch.tensor([4.0, 3, 2, 1], dtype=torch.float64)
        self.layer.bias.data = rotation @ torch.tensor([0.3, 0.2, 0.1, 5], dtype=torch.float64)
        self.head = nn.Linear(4, 3, bias=False)
        # Class k reads direction k alone; direction 3 is read by nobody.
        self.head.weight.data = rotation[:, :3].T.clone()

    def forward(self, images):
        return self.head(self.layer(images))


def test_a_class_of_one_direction_falls_with_it_and_no_other():
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    model = KnownDirections(rotation).eval()
    target = np.arange(30) % 3
    X = torch.full((30, 4), 0.5, dtype=torch.float64)
    X[torch.arange(30), torch.from_numpy(target)] = 5
    layer = trace_layers(model, X[:2]).linear[0]
    with torch.no_grad():
        baseline = judged(model(X).numpy(), target)
    assert baseline[0].mean() == 1
    directions = list(rotation.split(1, dim=1))
    scores = scores_without(model, layer, X, directions, together=True)
    drops = ClassDrops.of(baseline, judged(scores.numpy(), target), target, 3)
    accuracy, probability = drops.drop
    np.testing.assert_array_equal(accuracy, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert (np.diag(probability[:3]) > 0.5).all()
    for own in range(3):
        value = selectivity(drops, own, 0.95).value
        assert value[0, own] == pytest.approx(1)
        assert value[0, 3] == pytest.approx(0, abs=1e-12)
        assert value[0].argmax() == value[1].argmax() == own
