"""Running means and variances estimated again, beside their definition."""

import numpy as np
import pytest
import torch
from removals import seeded
from torch import nn

from ddp_tasks.interventions.batch_norm_statistics import estimate_again, normalising
from ddp_tasks.networks.calling_convention import AS_THEY_COME


class Normed(nn.Module):
    """A convolution, a BatchNorm and dropout, then another BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.drop, self.last = nn.Dropout(0.5), nn.BatchNorm1d(3, affine=False)
        self.still = nn.BatchNorm1d(3, track_running_stats=False)

    def forward(self, images):
        """Logits."""
        x = self.drop(torch.relu(self.norm(self.conv(images))))
        return self.still(self.last(x.mean(dim=(2, 3))))


def batches(count=3, each=8):
    drawn = torch.randn(count * each, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    return drawn.double().split(each)


def test_statistics_are_averages_over_batches_and_nothing_else_changes():
    model = seeded(Normed)
    before = {name: p.clone() for name, p in model.named_parameters()}
    given = batches()
    assert normalising(model) == [model.norm, model.last]
    estimate_again(model, given, AS_THEY_COME)
    outputs = [model.conv(batch).detach().numpy() for batch in given]
    means = [Y.mean(axis=(0, 2, 3)) for Y in outputs]
    variances = [Y.var(axis=(0, 2, 3), ddof=1) for Y in outputs]
    np.testing.assert_allclose(model.norm.running_mean, np.mean(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.norm.running_var, np.mean(variances, axis=0), rtol=1e-12)
    # The second norm sees what the first makes of a batch with that batch's own statistics, and
    # dropout leaves all of it there.
    inner = []
    for Y in outputs:
        mean, var = Y.mean(axis=(0, 2, 3)), Y.var(axis=(0, 2, 3))
        normed = (Y - mean[:, None, None]) / np.sqrt(var + model.norm.eps)[:, None, None]
        inner.append(np.maximum(normed, 0).mean(axis=(2, 3)).mean(axis=0))
    np.testing.assert_allclose(model.last.running_mean, np.mean(inner, axis=0), rtol=1e-9)
    assert not any(module.training for module in model.modules())
    assert [norm.momentum for norm in (model.norm, model.last)] == [0.1, 0.1]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_failure_leaves_the_network_in_evaluation():
    model = seeded(Normed)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        estimate_again(model, batches(count=1, each=1), AS_THEY_COME)
    assert not any(module.training for module in model.modules())
    assert model.norm.momentum == 0.1
