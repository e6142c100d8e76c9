"""Work on a device for the batches to come, beside what the network does with the one before.

A device carries out what it is told in streams: in order within one, at the same time in several.
Copies, decoding and standardising go to a stream of their own, so the network's never waits for
a copy that could have been made before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

#: Batches that may wait for their pass, or be in it, while another is made.
BATCHES_ON_DEVICE = 2


class SideStream:
    """Makes batches beside the caller's own stream.

    Nothing here waits for the device, except once for each batch: while more than
    ``BATCHES_ON_DEVICE`` batches are not used up, no other is made, or the device's memory would
    fill with batches that are made faster than the network passes them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._module = device, torch.get_device_module(device)
        self._stream = _stream(device)
        self._given: deque[Any] = deque()

    def working(self) -> AbstractContextManager[Any]:
        """A context in which this thread's work on the device goes to the side stream."""
        context: AbstractContextManager[Any] = self._module.stream(self._stream)
        return context

    def handed_over(self, make: Callable[[], Tensor]) -> Tensor:
        """A batch made on the side stream, for which the caller's stream waits, not the caller."""
        with self.working():
            batch = make()
            made = self._module.Event()
            made.record(self._stream)
        own = self._module.current_stream(self._device)
        made.wait(own)
        if batch.device.type != "cpu":
            # Else its memory might be given to the batch after next while it is still in use.
            batch.record_stream(own)
        return batch

    def used(self) -> None:
        """Note that the caller has told its stream all that it does with the last batch."""
        over = self._module.Event()
        over.record(self._module.current_stream(self._device))
        self._given.append(over)
        if len(self._given) > BATCHES_ON_DEVICE:
            self._given.popleft().synchronize()


@lru_cache(maxsize=8)
def _stream(device: torch.device) -> Any:
    """A device's side stream: one, since tensors are kept from one shard to the next."""
    stream = torch.get_device_module(device).Stream
    return stream() if device.type == "cpu" else stream(device)
