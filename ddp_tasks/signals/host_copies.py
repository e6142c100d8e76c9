"""Tensors on their way from a device to main memory."""

from __future__ import annotations

import torch
from torch import Tensor


class HostCopy:
    """A copy in main memory, for which nobody waits before it is needed.

    Parameters
    ----------
    tensor
        on any device; one in main memory is not copied.
    """

    def __init__(self, tensor: Tensor) -> None:
        # From a GPU it goes to pinned memory, which the GPU writes by itself.
        self._copy = tensor.to("cpu", non_blocking=True)
        self._over = torch.get_device_module(tensor.device).Event()
        self._over.record()

    def arrived(self) -> Tensor:
        """The copy, whole."""
        self._over.synchronize()
        return self._copy
