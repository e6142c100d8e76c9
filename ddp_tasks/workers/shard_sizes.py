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

#: A shard is one file of about this size: at most some thousand files for a million images.
FILE_BYTES = 32 * 2**20

#: Part of a worker's memory that the rows of a shard may take; the rest is the network's.
MEMORY_SHARE = 1 / 4

#: A lost shard costs at most about so many seconds of one worker.
MOST_SECONDS = 120

#: Every thread that computes gets so many shards, so that a lost one is a small part of its work.
SHARDS_PER_THREAD = 4

#: Rows are in memory as the pass makes them, and once more while they are compressed.
_COPIES = 2

_BYTES = 4  # of one float32 signal

#: Multiplications and additions a second, float32: measured with ResNet-18 on one thread (3.6e9
#: in 56 ms), and what a data-centre GPU is sure to reach.
_SPEED = {"cpu": 6e10, "cuda": 1e13}


@dataclass(frozen=True)
class WorkerSize:
    """What one Dask worker brings."""

    threads: int
    """shards that it computes at the same time."""
    torch_threads: int
    """of one of them."""
    memory: int | None
    """bytes; None without a limit."""
    device: str
    """cpu or cuda."""


@dataclass(frozen=True)
class ImageCost:
    """What one image of a run costs."""

    ranks: Sequence[int]
    """of the layers analysed; an image has as many signals as they add up to."""
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
        of the run.
    batch_size
        images of one forward pass.
    workers
        of the cluster; none is as good as one of one thread.
    """
    workers = workers or [WorkerSize(1, 1, None, "cpu")]
    file = FILE_BYTES // (_BYTES * sum(cost.ranks))
    row = _COPIES * _BYTES * len(cost.ranks) * max(cost.ranks)
    memories = [w.memory / w.threads for w in workers if w.memory is not None]
    memory = int(MEMORY_SHARE * min(memories) / row) if memories else images
    speed = min(_SPEED[w.device] * w.torch_threads for w in workers)
    lost = int(MOST_SECONDS * speed / max(1, cost.operations))
    # Rounded up to whole batches: rounded down, a last small shard would be one more than four.
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
        how the network takes it.
    """
    given = convention.inputs(image)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        whole_output(model(given))
    return int(counter.get_total_flops()) // len(given)


def worker_size(threads: int, memory: int | None) -> WorkerSize:
    """What a Dask worker brings; to be called in it.

    Parameters
    ----------
    threads, memory
        as of ``WorkerSize``.
    """
    return WorkerSize(
        threads=threads,
        torch_threads=torch.get_num_threads(),
        memory=memory,
        device=best_device().type,
    )
