"""Networks in float64, where pictures and other ways of computing are compared exactly."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from ddp_tasks.networks.calling_convention import CallingConvention


def float64_network(
    model: nn.Module, convention: CallingConvention
) -> tuple[nn.Module, CallingConvention]:
    """A copy of a network in float64, and how it takes its images."""
    copied = copy.deepcopy(model).to(torch.float64).requires_grad_(False).eval()
    plain = replace(convention, dtype=torch.float64, channels_last=False)
    return plain.laid_out(copied), plain
