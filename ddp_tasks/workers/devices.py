"""What this machine and this process compute on: GPUs where there are any, otherwise the CPU."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Of NVIDIA's driver; where it does not load, torch counts no device either.
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def best_device() -> torch.device:
    """The GPU of this process where it has one, otherwise the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cuda_devices() -> int:
    """How many CUDA devices this process may use; torch is loaded only where there is a driver."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()
