"""The rule that chooses the images of one shard, held against its own docstring."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_networks import InPlaceNetwork

from ddp_tasks.workers.shard_sizes import (
    FILE_BYTES,
    MEMORY_SHARE,
    MOST_SECONDS,
    SHARDS_PER_THREAD,
    ImageCost,
    WorkerSize,
    forward_operations,
    images_per_shard,
)

#: Ranks of torchvision's VGG-16, and its operations at 224 x 224.
VGG16 = ImageCost(
    (27, 64, 128, 128, 256, 256, 256, *[512] * 6, 4096, 4096, 1000), operations=30_940_528_640
)
IMAGENET = 1_281_167
GPU = WorkerSize(threads=1, torch_threads=8, memory=64 * 2**30, device="cuda")
CORE = WorkerSize(threads=1, torch_threads=1, memory=12 * 2**30, device="cpu")


def test_the_numbers_of_the_docstring():
    assert sum(VGG16.ranks) == 13_379
    assert images_per_shard(IMAGENET, 64, VGG16, [GPU] * 8) == 576
    assert -(-IMAGENET // 576) == 2225
    assert images_per_shard(IMAGENET, 64, VGG16, [CORE] * 2) == 192
    assert images_per_shard(1000, 64, VGG16, [CORE] * 2) == 128


def test_little_memory_makes_small_shards():
    small = WorkerSize(threads=1, torch_threads=8, memory=256 * 2**20, device="cuda")
    chosen = images_per_shard(IMAGENET, 64, VGG16, [GPU, small])
    # 16 layers padded to 4096 float32 are 256 KiB, held twice: a quarter of 256 MiB takes 128.
    assert chosen == 128


def test_few_images_are_one_batch_each_rather_than_less():
    assert images_per_shard(30, 64, VGG16, [CORE] * 2) == 64


def test_a_cluster_whose_workers_are_still_to_come_is_taken_for_one_thread():
    assert images_per_shard(1000, 10, ImageCost((5,), 1000), []) == 250


workers = st.builds(
    WorkerSize,
    threads=st.integers(1, 8),
    torch_threads=st.integers(1, 8),
    memory=st.none() | st.integers(2**28, 2**40),
    device=st.sampled_from(["cpu", "cuda"]),
)
costs = st.builds(
    ImageCost,
    ranks=st.lists(st.integers(1, 4096), min_size=1, max_size=50),
    operations=st.integers(0, 10**12),
)


@given(
    images=st.integers(1, 10**7),
    batch_size=st.integers(1, 512),
    cost=costs,
    cluster=st.lists(workers, min_size=1, max_size=20),
)
def test_every_bound_holds_unless_a_batch_is_larger(images, batch_size, cost, cluster):
    chosen = images_per_shard(images, batch_size, cost, cluster)
    assert chosen == images_per_shard(images, batch_size, cost, cluster)
    assert chosen % batch_size == 0
    assert chosen >= batch_size
    if chosen > batch_size:
        assert 4 * sum(cost.ranks) * chosen <= FILE_BYTES
        rows = 4 * len(cost.ranks) * max(cost.ranks) * chosen
        for worker in cluster:
            if worker.memory is not None:
                assert 2 * rows * worker.threads <= MEMORY_SHARE * worker.memory
            speed = worker.torch_threads * (6e10 if worker.device == "cpu" else 1e13)
            assert chosen * cost.operations / speed <= MOST_SECONDS
        threads = sum(worker.threads for worker in cluster)
        assert (chosen - batch_size) * threads * SHARDS_PER_THREAD < images


def test_operations_are_two_for_each_weight_and_place():
    network = InPlaceNetwork().eval()
    # conv1: 2*3*3 weights a channel, 4 channels, 6*6 places; conv2 in two groups, 2*2 places.
    conv1, conv2 = 2 * 18 * 4 * 36, 2 * 18 * 6 * 4
    fc1, fc2 = 2 * 24 * 5, 2 * 5 * 3
    found = forward_operations(network, torch.zeros(1, 2, 6, 6))
    assert found == pytest.approx(conv1 + conv2 + fc1 + fc2)
