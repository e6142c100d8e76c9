from dataclasses import replace

import pytest
from runs import tiny_run

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.samples import Sample


def opened(**kwargs):
    return open_images(tiny_run(kwargs=kwargs).images)


def test_the_same_images_agree_though_their_labels_are_not_read():
    sample = Sample.of(opened())
    assert len(sample.index) == 8
    assert sample.index[0] == 0
    assert sample.index[-1] == 29
    assert sample.differences(open_images(tiny_run().images, labelled=False)) == []


def test_an_image_with_other_bytes_or_another_label_is_named():
    sample, images = Sample.of(opened()), opened()
    images.dataset.images[29] += 1
    assert sample.differences(images) == ["image '29' has other bytes there"]
    images = opened()
    images.dataset.targets[0] = 1
    assert sample.differences(images) == ["image '00' has another label there"]


def test_a_data_set_with_fewer_images_is_named():
    found = Sample.of(opened()).differences(opened(images=20))
    assert found == ["the data set has 20 images there and more than 29 here"]


def test_other_ids_are_named():
    sample = Sample.of(opened())
    other = replace(sample, ids=("cat.png", *sample.ids[1:]))
    assert other.differences(opened()) == ["an image is '00' there and 'cat.png' here"]


@pytest.mark.parametrize("unreadable", [0, 1])
def test_an_image_that_one_host_cannot_read_may_be_repaired(unreadable):
    sample = Sample.of(opened())
    contents = [*sample.contents]
    contents[unreadable] = "-"
    assert replace(sample, contents=tuple(contents)).differences(opened()) == []
