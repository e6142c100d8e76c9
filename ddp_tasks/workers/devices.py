"""The device of this process: a GPU if there is one, otherwise the CPU."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Library of NVIDIA's driver; if it does not load, torch finds no device either.
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def best_device() -> torch.device:
    """The GPU of this process if it has one, otherwise the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cuda_devices() -> int:
    """Number of CUDA devices of this process; loads torch only if there is a driver."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()
