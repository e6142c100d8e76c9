"""What a run logs of the GPUs that wrote its cube."""

import logging

from ddp_tasks.stages.shares import Shares
from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.devices import Place
from ddp_tasks.workers.signals import FilledShard

ONE, TWO = "NVIDIA H200 1111", "NVIDIA H200 2222"


def shares(*places, decoders=()):
    """Shares of shards of 1000 images, and one of 10 at the end."""
    counted = Shares()
    for number, place in enumerate(places):
        images = 10 if number == len(places) - 1 else 1000
        shard = Shard(number, number * 1000, number * 1000 + images)
        counted.add(FilledShard(shard, {}, place, dict(decoders)))
    return counted


def gpu(worker, device):
    return Place(worker, device, on_gpu=True)


def test_each_worker_is_named_with_its_gpu():
    a, b = gpu("host, process 1", ONE), gpu("host, process 2", TWO)
    assert list(shares(b, a, b, a).sentences(decoding="cpu")) == [
        (logging.INFO, f"host, process 1, {ONE}: 2 shards, 1,010 images"),
        (logging.INFO, f"host, process 2, {TWO}: 2 shards, 2,000 images"),
    ]


def test_workers_that_share_a_gpu_are_warned_of():
    found = list(shares(gpu("x", ONE), gpu("y", ONE), gpu("z", TWO)).sentences(decoding="cpu"))
    assert [sentence for level, sentence in found if level == logging.WARNING] == [
        f"2 workers share {ONE}; one worker for each GPU is faster, as cluster: cuda and dask cuda "
        "worker start them"
    ]


def test_processors_are_not_worth_a_line():
    here = Place("host, process 1", "x86_64, 1 threads of torch", on_gpu=False)
    assert list(shares(here, here, decoders={"cpu": 1010}).sentences(decoding="cpu")) == []


def test_who_decoded_is_said_once_where_gpus_were_asked_for():
    counted = shares(gpu("x", ONE), gpu("x", ONE), decoders={"cuda": 900, "cpu": 5})
    assert list(counted.sentences(decoding="gpu"))[1:] == [
        (logging.INFO, "1,800 of 1,810 pictures were decoded on GPUs, 10 by processors")
    ]
    # Of images in memory nothing is decoded.
    assert list(shares(gpu("x", ONE)).sentences(decoding="gpu"))[1:] == []
