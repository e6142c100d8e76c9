"""Batches of a run's images on a device, read ahead of the network that uses them."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from threading import Barrier

import torch
from torch import Tensor

from ddp_tasks.images.contents import Content
from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.readers import Reason
from ddp_tasks.images.side_stream import SideStream

#: Batches that are read ahead, beside the one that the network is using.
BATCHES_AHEAD = 2

#: Pictures that a thread reads at a time; few, so that all threads share a shard's first batch.
_PIECE = 8
#: On a GPU; nvJPEG decodes many files at once much faster than one by one.
_PIECE_ON_GPU = 32
_MOST_THREADS = 8
_SECONDS_TO_START = 60.0

_CPU = torch.device("cpu")


def read_ahead(
    images: ImageSet,
    chosen: range,
    batch_size: int,
    device: torch.device,
    unreadable: dict[int, Reason],
    *,
    contents: dict[int, Content] | None = None,
    decoder: torch.device = _CPU,
    decoders: Counter[str] | None = None,
) -> Generator[Tensor, None, None]:
    """Batches of a run's images; the next ones are read while one is used.

    A GPU gets its batches on a stream of their own, while the network passes the one before
    (``SideStream``).

    At most ``BATCHES_AHEAD`` batches wait, however slow the network is. A dataset in memory is
    read without threads, when it is used; a person's own dataset by one thread; picture files
    by several (``reading_threads``). All threads have ended when the iterator is exhausted,
    fails or is closed. Torch uses one thread in each of them, so that they take no more cores
    than there are threads.

    Parameters
    ----------
    chosen
        positions in the run, in steps of one.
    unreadable
        receives the reasons for images that are not in the batches, by position in the run; those
        of a batch before the batch is given.
    contents
        receives the content of the images in the batches, by position in the run.
    decoder
        that decodes picture files where it can, the device itself or the processor.
    decoders
        receives how many pictures of files were decoded by each type of device.

    Yields
    ------
    float32, shape (k, \\*images.shape), k at most ``batch_size``: the readable images in order.
    On a processor, the next batch overwrites the one before

    Raises
    ------
    RunError
        See ``ImageSet.shape``.
    """
    images.shape  # noqa: B018 - computed before threads need it
    bounds = [(i, min(i + batch_size, chosen.stop)) for i in chosen[::batch_size]]
    side = _side_stream(device)
    making = _Making(images, device, side)
    if images.in_memory:
        for first, last in bounds:
            yield making.batch(images.block(first, last, contents))
            making.used()
        return
    threads, size = reading_threads(images, device), _piece(images, decoder, batch_size)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="reading")

    def read(start: int, stop: int) -> list[Tensor | Reason]:
        with nullcontext() if side is None else side.working():
            return images.read(start, stop, decoder, contents)

    def reading() -> Iterator[tuple[int, list[Future[list[Tensor | Reason]]]]]:
        for first, last in bounds:
            pieces = [(i, min(i + size, last)) for i in range(first, last, size)]
            yield first, [executor.submit(read, *piece) for piece in pieces]

    try:
        _give_one_torch_thread_each(executor, threads)
        batches = reading()
        waiting = deque(islice(batches, BATCHES_AHEAD + 1))
        while waiting:
            first, pieces = waiting.popleft()
            pictures = [picture for piece in pieces for picture in piece.result()]
            unreadable |= {i: r for i, r in enumerate(pictures, start=first) if isinstance(r, str)}
            if readable := [picture for picture in pictures if isinstance(picture, Tensor)]:
                if decoders is not None:
                    decoders.update(picture.device.type for picture in readable)
                batch = making.batch(readable)
                # Frees the pictures while their batch is used.
                del pieces, pictures, readable
                yield batch
                making.used()
            waiting.extend(islice(batches, 1))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def reading_threads(images: ImageSet, device: torch.device) -> int:
    """Number of threads that read an image set that is not in memory.

    On a processor it is a fourth of torch's threads, at least one: decoding and resizing are little
    work beside the network, and more threads would only take cores from it. A GPU leaves the cores
    free: then it is the number of the process's cores for each GPU, at most eight. It is one for a
    dataset that may not be safe with more.
    """
    if not images.reader.concurrent:
        return 1
    if device.type == "cpu":
        return max(1, torch.get_num_threads() // 4)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MOST_THREADS, max(1, (cores or 1) // max(1, torch.cuda.device_count())))


class _Making:
    """Makes the network's input tensors, on a processor always in the same memory."""

    def __init__(self, images: ImageSet, device: torch.device, side: SideStream | None) -> None:
        self._images, self._device, self._side = images, device, side
        self._memory: Tensor | None = None

    def batch(self, pictures: Sequence[Tensor] | Tensor) -> Tensor:
        """Input tensors of pictures, as ``ImageSet.inputs`` makes them."""
        if self._side is not None:
            return self._side.handed_over(lambda: self._images.inputs(pictures, self._device))
        if self._memory is not None and len(pictures) <= len(self._memory):
            into = self._memory[: len(pictures)]
            return self._images.inputs(pictures, self._device, into)
        batch = self._images.inputs(pictures, self._device)
        if self._device.type == "cpu" and self._images.transform is not None:
            self._memory = batch
        return batch

    def used(self) -> None:
        """Note that the last batch is used, as far as the caller is concerned."""
        if self._side is not None:
            self._side.used()


def _side_stream(device: torch.device) -> SideStream | None:
    return None if device.type == "cpu" else SideStream(device)


def _piece(images: ImageSet, decoder: torch.device, batch_size: int) -> int:
    if not images.reader.concurrent:
        return batch_size
    return _PIECE_ON_GPU if decoder.type == "cuda" else _PIECE


def _give_one_torch_thread_each(executor: ThreadPoolExecutor, threads: int) -> None:
    """Start an executor's threads, and let torch use only one thread in each."""
    own = torch.get_num_threads()
    # Each waits for all, so that no thread runs this twice and another not at all.
    together = Barrier(threads, timeout=_SECONDS_TO_START)

    def settle() -> None:
        # A thread's first query resets it to torch's default, even after it has set its own number.
        torch.get_num_threads()
        torch.set_num_threads(1)
        together.wait()

    for settled in [executor.submit(settle) for _ in range(threads)]:
        settled.result()
    # The number that a thread sets is also the default of threads started later.
    torch.set_num_threads(own)
