import numpy as np
import pytest
import torch
from removals import scores_without
from torch import nn

from ddp_tasks.interventions.removal_effects import (
    class_means,
    contrast,
    judged,
    resampled_contrasts,
)
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


def test_each_other_class_counts_alike():
    target = np.array([0, 0, 1, 1, 1, 1, 2, 2])
    drop = np.array([[0.4, 0.2, 0, 0, 0, 0.4, 0.5, 0.1]])
    np.testing.assert_allclose(class_means(drop, target, 4), [[0.3, 0.1, 0.3, np.nan]])
    assert (drop @ contrast(target, 0)).item() == pytest.approx(0.3 - (0.1 + 0.3) / 2)
    assert (drop @ contrast(target, 2)).item() == pytest.approx(0.3 - (0.3 + 0.1) / 2)


def test_resamples_are_of_the_images_of_each_class():
    target = np.array([0] * 20 + [1] * 5 + [2] * 10)
    weights = resampled_contrasts(target, 1, 3000, seed=3)
    # Each resample's weights sum as those of all images do.
    np.testing.assert_allclose(weights[target == 1].sum(axis=0), 1)
    np.testing.assert_allclose(weights[target != 1].sum(axis=0), -1)
    np.testing.assert_allclose(weights.mean(axis=1), contrast(target, 1), atol=0.02)
    # The variance of a bootstrap mean is that of the values over n.
    drop = np.random.default_rng(0).normal(size=len(target))
    expected = sum(
        drop[target == c].var() / np.count_nonzero(target == c) * share**2
        for c, share in ((0, 0.5), (1, 1), (2, 0.5))
    )
    assert (drop @ weights).var() == pytest.approx(expected, rel=0.15)
    # Images of one class are drawn alike whatever others are judged beside them.
    alone = resampled_contrasts(target[target != 2], 1, 3000, seed=3)
    np.testing.assert_array_equal(alone[20:], weights[20:25])


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
    drop = baseline[:, None] - judged(scores.numpy(), target)
    accuracy, probability = class_means(drop, target, 3)
    np.testing.assert_array_equal(accuracy, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert (np.diag(probability[:3]) > 0.5).all()
    for own in range(3):
        selectivity = drop @ contrast(target, own)
        assert selectivity[0, own] == pytest.approx(1)
        assert selectivity[0, 3] == pytest.approx(0, abs=1e-12)
        assert selectivity[0].argmax() == selectivity[1].argmax() == own
