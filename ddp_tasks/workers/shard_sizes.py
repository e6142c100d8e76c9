"""How many images one shard holds: from memory, throughput and the number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.workers.devices import best_device

#: A shard is one file of at most about this size: a few thousand files for a million images.
FILE_BYTES = 32 * 2**20

#: Share of a worker's memory for the rows of a shard; the rest is for the network.
MEMORY_SHARE = 1 / 4

#: A lost shard costs one worker at most about this many seconds.
MOST_SECONDS = 120

#: Every computing thread gets this many shards, so that a lost one is a small part of its work.
SHARDS_PER_THREAD = 4

#: Rows are in memory twice: as the pass makes them, and while they are compressed.
_COPIES = 2

_BYTES = 4  # of one float32 signal

#: Multiplications and additions a second, float32: measured with ResNet-18 on one thread (3.6e9
#: in 56 ms), and what any data-centre GPU reaches.
_SPEED = {"cpu": 6e10, "cuda": 1e13}


@dataclass(frozen=True)
class WorkerSize:
    """Size of one Dask worker."""

    threads: int
    """shards that it computes at the same time."""
    torch_threads: int
    """threads of torch in each of them."""
    memory: int | None
    """bytes; None without a limit."""
    device: str
    """cpu or cuda."""


@dataclass(frozen=True)
class ImageCost:
    """What one image of a run costs."""

    ranks: Sequence[int]
    """ranks of the layers analysed; their sum is the number of signals of an image."""
    operations: int
    """multiplications and additions of one forward pass."""


def images_per_shard(
    images: int, batch_size: int, cost: ImageCost, workers: Sequence[WorkerSize]
) -> int:
    """Choose how many images of a run one shard holds.

    The least of four numbers, in whole batches and at least one:

    - the images whose signals fill a file of 32 MiB, 4 bytes for each of the sum of ranks;
    - those whose rows, padded to the greatest rank and held twice, fill a quarter of the memory
      that the smallest worker has for one thread;
    - those that the slowest worker passes in 120 s;
    - those that give every thread of the cluster four shards.

    The ranks of VGG-16 add up to 13,379: 32 MiB are 626 images, in whole batches of 64 are 576.
    The 1,281,167 images of ImageNet are then 2,225 shards on 8 GPUs, 278 for each. On processor
    cores, at 31e9 operations an image, 120 s are 232 images, that is 192; of 1,000 images on two
    cores each gets four shards of 128.

    Parameters
    ----------
    images
        number of images of the run.
    batch_size
        images of one forward pass.
    workers
        workers of the cluster; none counts as one of one thread.
    """
    workers = workers or [WorkerSize(1, 1, None, "cpu")]
    file = FILE_BYTES // (_BYTES * sum(cost.ranks))
    row = _COPIES * _BYTES * len(cost.ranks) * max(cost.ranks)
    memories = [w.memory / w.threads for w in workers if w.memory is not None]
    memory = int(MEMORY_SHARE * min(memories) / row) if memories else images
    speed = min(_SPEED[w.device] * w.torch_threads for w in workers)
    lost = int(MOST_SECONDS * speed / max(1, cost.operations))
    # Rounded up to whole batches: rounding down would add a fifth, small shard.
    several = -(-images // (SHARDS_PER_THREAD * sum(w.threads for w in workers)))
    several = -(-several // batch_size) * batch_size
    chosen = min(file, memory, lost, several)
    return max(batch_size, chosen // batch_size * batch_size)


def forward_operations(
    model: nn.Module, image: Tensor, convention: CallingConvention = AS_THEY_COME
) -> int:
    """Multiplications and additions of the matrix products in one image's forward pass.

    Parameters
    ----------
    image
        shape (1, ...).
    convention
        how the network is called.
    """
    given = convention.inputs(image)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        whole_output(model(given))
    return int(counter.get_total_flops()) // len(given)


def worker_size(threads: int, memory: int | None) -> WorkerSize:
    """The size of a Dask worker; to be called in it.

    Parameters
    ----------
    threads, memory
        as in ``WorkerSize``.
    """
    return WorkerSize(
        threads=threads,
        torch_threads=torch.get_num_threads(),
        memory=memory,
        device=best_device().type,
    )
