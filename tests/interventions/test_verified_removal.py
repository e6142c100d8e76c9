import torch
from removals import inputs, layer_named, nothing_left, seeded
from torch import nn
from toy_networks import Colours

from ddp_tasks.interventions.vector_removal import removing
from ddp_tasks.interventions.verified_removal import Candidate, quickest_way
from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.forward_pass import folded_copy
from ddp_tasks.networks.tracing import trace_layers


class Choosing(nn.Module):
    """Goes one way or another by what its first layer says."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, images):
        x = self.first(images)
        return self.head(x if bool(x.sum() > 0) else -x)


class Gathering(Choosing):
    """Adds its layer's output into its images, in place."""

    def forward(self, images):
        x = images.clone()
        x += self.first(images)
        return self.head(x)


def directions(d, seed=0):
    return [torch.linalg.qr(inputs(d, k, seed=seed + k))[0] for k in (1, 2)]


def ways(model, X, name, candidates=None):
    layer = layer_named(model, X, name)
    every = [*(candidates or ()), Candidate(model)]
    return quickest_way(every, AS_THEY_COME, layer, X, directions(layer.shape[0]))


def test_batch_norms_are_folded_where_that_gives_the_same():
    model, X = seeded(Colours), inputs(4, 3, 8, 8)
    model.norm.running_var.uniform_(0.5, 2)
    copied, folded = folded_copy(model, trace_layers(model, X).linear, X)
    scale = 1 / folded["conv1"].scale
    way = ways(model, X, "conv1", [Candidate(copied, scale)])
    assert way.cut.model is copied
    assert way.together
    assert way.refused == ()
    # The candidate that forgets the scale is no longer the same network without these directions.
    wrong = ways(model, X, "conv1", [Candidate(copied, None)])
    assert wrong.cut.model is model
    assert wrong.together
    (why,) = wrong.refused
    assert why.startswith("with BatchNorms folded: scores differ by ")
    taken = directions(4)
    found = []
    for one in (way, wrong):
        with removing(one.cut, together=one.together) as scores:
            found.append(scores(X, one.removals(taken)))
    torch.testing.assert_close(*found)


def test_networks_that_refuse_the_vectorised_pass_are_passed_plainly():
    X = inputs(5, 4)
    for network in (Choosing, Gathering):
        model = seeded(network)
        way = ways(model, X, "first")
        assert not way.together
        assert way.cut.model is model
        (why,) = way.refused
        assert why.startswith("as it is: ")
        assert nothing_left(model)
        with removing(way.cut, together=way.together) as scores:
            found = scores(X, way.removals(directions(4)))
        u = directions(4)[0]
        W = model.first.weight
        rebuilt = seeded(network)
        rebuilt.first.weight[:] = W - u @ (u.T @ W)
        torch.testing.assert_close(found[0], rebuilt(X))
