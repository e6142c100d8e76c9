"""The device of this process: a GPU if there is one, otherwise the CPU."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Library of NVIDIA's driver; if it does not load, torch finds no device either.
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def best_device() -> torch.device:
    """The GPU of this process if it has one, otherwise the CPU.

    From then on the GPU computes in float32 what is in float32: torch rounds the factors of
    convolutions to 10 bits unless it is told not to.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device())


def device_name(device: torch.device) -> str:
    """A device in words: a GPU's name and number, or the processor and the threads of torch."""
    import torch

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} {properties.uuid}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads of torch"


@dataclass(frozen=True, order=True)
class Place:
    """Where something was computed."""

    worker: str
    """its host and process."""
    device: str
    """as ``device_name`` gives it."""
    on_gpu: bool

    @classmethod
    def here(cls, device: torch.device) -> Place:
        """This worker with a device of it."""
        worker = f"{socket.gethostname()}, process {os.getpid()}"
        return cls(worker, device_name(device), device.type == "cuda")


def cuda_devices() -> int:
    """Number of CUDA devices of this process; loads torch only if there is a driver."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()
