"""Batches of a run's images on a device, read ahead of the network that is shown them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Barrier

import torch
from torch import Tensor

from ddp_tasks.images.contents import Content
from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.readers import Reason

#: Batches that are read or being read beside the one that the network is shown.
BATCHES_AHEAD = 2

#: Pictures that one thread reads at a time: few, so that all threads share a shard's first batch.
_PIECE = 8
#: nvJPEG decodes many files at once much faster than one by one.
_PIECE_ON_GPU = 32
_MOST_THREADS = 8
_SECONDS_TO_START = 60.0


def read_ahead(
    images: ImageSet,
    chosen: range,
    batch_size: int,
    device: torch.device,
    unreadable: dict[int, Reason],
    *,
    contents: dict[int, Content] | None = None,
) -> Generator[Tensor, None, None]:
    """Batches of a run's images, the next ones read while one is used.

    At most ``BATCHES_AHEAD`` batches wait, however slow the network is. A dataset in memory is
    read without threads, where it is used; a person's own dataset by one thread; picture files
    by several (``reading_threads``). All threads have ended when the iterator is exhausted,
    fails or is closed, and each gives torch one thread, so that they take no more cores than
    they are.

    Parameters
    ----------
    chosen
        positions in the run, in steps of one.
    unreadable
        receives why images are not among the batches, by position in the run: those of a batch
        before the batch is given.
    contents
        receives the content of the images that are, by position in the run.

    Yields
    ------
    float32, shape (k, \\*images.shape), k at most ``batch_size``: the readable images in order.
    On a processor the next batch is written over the one before

    Raises
    ------
    RunError
        See ``ImageSet.shape``.
    """
    images.shape  # noqa: B018 - found before threads ask for it
    bounds = [(i, min(i + batch_size, chosen.stop)) for i in chosen[::batch_size]]
    making = _Making(images, device)
    if images.in_memory:
        for first, last in bounds:
            yield making.batch(images.block(first, last, contents))
        return
    threads, size = reading_threads(images, device), _piece(images, device, batch_size)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="reading")

    def reading() -> Iterator[tuple[int, list[Future[list[Tensor | Reason]]]]]:
        for first, last in bounds:
            pieces = [(i, min(i + size, last)) for i in range(first, last, size)]
            yield (
                first,
                [executor.submit(images.read, *piece, device, contents) for piece in pieces],
            )

    try:
        _give_one_torch_thread_each(executor, threads)
        batches = reading()
        waiting = deque(islice(batches, BATCHES_AHEAD + 1))
        while waiting:
            first, pieces = waiting.popleft()
            found = [picture for piece in pieces for picture in piece.result()]
            unreadable |= {i: r for i, r in enumerate(found, start=first) if isinstance(r, str)}
            if readable := [picture for picture in found if isinstance(picture, Tensor)]:
                batch = making.batch(readable)
                # What it was made of goes while it is used.
                del pieces, found, readable
                yield batch
            waiting.extend(islice(batches, 1))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def reading_threads(images: ImageSet, device: torch.device) -> int:
    """How many threads read an image set that is not in memory.

    On a processor a fourth of torch's threads, at least one: decoding and resizing take a small
    share of what a network does to a picture, and every further thread would only take cores from
    it. Beside a GPU, which leaves the cores free, as many as the process has for each GPU, up to
    eight. One for a dataset that may not bear more.
    """
    if not images.reader.concurrent:
        return 1
    if device.type == "cpu":
        return max(1, torch.get_num_threads() // 4)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MOST_THREADS, max(1, (cores or 1) // max(1, torch.cuda.device_count())))


class _Making:
    """Makes the network's input tensors, on a processor in the same memory again and again."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._images, self._device = images, device
        self._memory: Tensor | None = None

    def batch(self, pictures: Sequence[Tensor] | Tensor) -> Tensor:
        """Input tensors of pictures, as ``ImageSet.inputs`` makes them."""
        if self._memory is not None and len(pictures) <= len(self._memory):
            into = self._memory[: len(pictures)]
            return self._images.inputs(pictures, self._device, into)
        batch = self._images.inputs(pictures, self._device)
        if self._device.type == "cpu" and self._images.transform is not None:
            self._memory = batch
        return batch


def _piece(images: ImageSet, device: torch.device, batch_size: int) -> int:
    if not images.reader.concurrent:
        return batch_size
    return _PIECE_ON_GPU if device.type == "cuda" else _PIECE


def _give_one_torch_thread_each(executor: ThreadPoolExecutor, threads: int) -> None:
    """Start an executor's threads, and let torch use no further threads within them."""
    own = torch.get_num_threads()
    # Each waits for all, so that no thread takes the part of another.
    together = Barrier(threads, timeout=_SECONDS_TO_START)

    def settle() -> None:
        # A thread takes torch's default where it first asks, were it after setting its own.
        torch.get_num_threads()
        torch.set_num_threads(1)
        together.wait()

    for settled in [executor.submit(settle) for _ in range(threads)]:
        settled.result()
    # What any thread sets is also the default of threads that start after it.
    torch.set_num_threads(own)
