"""Images shown to several networks: in even batches, kept or read again alike."""

import numpy as np
import pytest
import torch
from runs import tiny_run, unreadable_run

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.queries import shown_images
from ddp_tasks.queries.shown_images import ShownImages
from schemas.run_error import RunError

CPU = torch.device("cpu")


@pytest.mark.parametrize("bytes_kept", [0, 1 << 30])
def test_every_pass_shows_the_same_in_the_order_asked_for(monkeypatch, bytes_kept):
    monkeypatch.setattr(shown_images, "KEPT_BYTES", bytes_kept)
    images = open_images(tiny_run().images)
    order = np.random.default_rng(0).permutation(len(images))[:20].astype(np.int64)
    shown = ShownImages(images, order, 8, CPU)
    first, second = list(shown.batches()), list(shown.batches())
    # Three batches of at most 8, none of which is much smaller than another.
    assert [len(batch) for batch in first] == [7, 7, 6]
    expected = torch.cat([images.batch(i, i + 1) for i in order.tolist()])
    assert torch.equal(torch.cat(first), expected)
    assert torch.equal(torch.cat(second), expected)
    assert (first[0] is second[0]) == bool(bytes_kept)
    np.testing.assert_array_equal(shown.target, images.target[order])
    assert len(shown) == 20


def test_a_pass_that_is_not_finished_keeps_nothing():
    images = open_images(tiny_run().images)
    shown = ShownImages(images, np.arange(9), 3, CPU)
    one = next(shown.batches())
    assert len(list(shown.batches())) == 3
    assert torch.equal(next(shown.batches()), one)


def test_an_image_that_cannot_be_read_is_named():
    images = open_images(unreadable_run([4], 0.5).images)
    shown = ShownImages(images, np.arange(6), 3, CPU)
    with pytest.raises(RunError, match=f"image '{images.ids[4]}' cannot be read"):
        list(shown.batches())
