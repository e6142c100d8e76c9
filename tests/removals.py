"""Networks in float64 with directions removed, as several tests ask for them."""

from __future__ import annotations

import torch

from ddp_tasks.interventions.vector_removal import CutLayer, Removals, removing
from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.tracing import trace_layers


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().double().eval().requires_grad_(False)


def inputs(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def nothing_left(model):
    hooks = [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
    return hooks == [] and torch.overrides._get_current_function_mode_stack() == []


def scores_without(model, layer, X, directions, *, together, convention=AS_THEY_COME, scale=None):
    cut = CutLayer(model, convention, layer)
    with removing(cut, together=together) as scores:
        found = scores(X, Removals.of(directions, scale))
    assert nothing_left(model)
    return found


def layer_named(model, X, name):
    return next(one for one in trace_layers(model, X).linear if one.name == name)
