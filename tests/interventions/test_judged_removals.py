import numpy as np
import pytest
import torch
from removals import inputs, layer_named, scores_without, seeded
from toy_networks import Colours

from ddp_tasks.interventions.judged_removals import judged_removals
from ddp_tasks.interventions.removal_effects import judged
from ddp_tasks.interventions.vector_removal import CutLayer
from ddp_tasks.interventions.verified_removal import Way
from ddp_tasks.networks.calling_convention import AS_THEY_COME


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("sizes", [[9], [4, 1, 4]])
def test_any_batches_and_more_removals_than_one_pass_takes_are_judged_alike(together, sizes):
    model, X = seeded(Colours), inputs(9, 3, 8, 8)
    layer = layer_named(model, X, "conv1")
    target = np.arange(9) % 2
    directions = [torch.linalg.qr(inputs(4, 1 + i % 2, seed=i))[0] for i in range(70)]
    way = Way(CutLayer(model, AS_THEY_COME, layer), None, together)
    batches = zip(X.split(sizes), np.split(target, np.cumsum(sizes)[:-1]), strict=True)
    found = judged_removals(way, directions, batches)
    plain = scores_without(model, layer, X, directions, together=False)
    with torch.no_grad():
        before = judged(model(X).float().numpy(), target)
    np.testing.assert_allclose(found.before, before, rtol=1e-5)
    np.testing.assert_allclose(found.after, judged(plain.float().numpy(), target), rtol=1e-5)
    assert found.after.shape == (2, 70, 9)


def test_without_images_there_is_nothing_to_judge():
    model, X = seeded(Colours), inputs(2, 3, 8, 8)
    way = Way(CutLayer(model, AS_THEY_COME, layer_named(model, X, "conv1")), None, True)
    found = judged_removals(way, [torch.eye(4, dtype=torch.float64)[:, :1]], [])
    assert found.before.shape == (2, 0)
    assert found.after.shape == (2, 1, 0)
