"""Which worker wrote which share of a cube, with which device."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

from ddp_tasks.workers.devices import Place
from ddp_tasks.workers.signals import FilledShard


class Shares:
    """Counts the shards of each worker."""

    def __init__(self) -> None:
        self._shards: Counter[Place] = Counter()
        self._images: Counter[Place] = Counter()
        self._decoders: Counter[str] = Counter()

    def add(self, filled: FilledShard) -> None:
        """Count a shard that is written."""
        self._shards[filled.place] += 1
        self._images[filled.place] += len(filled.shard)
        self._decoders.update(filled.decoders)

    def sentences(self, *, decoding: str) -> Iterator[tuple[int, str]]:
        """What there is to log of GPUs, each with its level.

        Parameters
        ----------
        decoding
            ``extraction.decoding`` of the run.
        """
        for place, shards in sorted(self._shards.items()):
            if place.on_gpu:
                yield (
                    logging.INFO,
                    f"{place.worker}, {place.device}: {shards} shards, "
                    f"{self._images[place]:,} images",
                )
        by_device = Counter(place.device for place in self._shards if place.on_gpu)
        for device, workers in by_device.items():
            if workers > 1:
                yield (
                    logging.WARNING,
                    f"{workers} workers share {device}; one worker for each GPU is faster, as "
                    "cluster: cuda and dask cuda worker start them",
                )
        if decoding == "gpu" and (pictures := self._decoders.total()):
            there = pictures - self._decoders["cpu"]
            yield (
                logging.INFO,
                f"{there:,} of {pictures:,} pictures were decoded on GPUs, {pictures - there:,} by "
                "processors",
            )
