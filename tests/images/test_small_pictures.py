import numpy as np
import pytest
from image_sets import photograph

from ddp_tasks.images import small_pictures
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.small_pictures import MOST_BYTES, most_pictures, picture_shape, small_size
from schemas.parameters import ImageParameters


def test_copies_are_as_large_as_so_many_may_be():
    assert small_size((28, 28), 1000) == (28, 28)
    assert small_size((300, 200), 1) == (224, 149)
    assert small_size((32, 32), 10**6) == (32, 32)
    assert small_size((500, 5), 10**6) == (32, 1)
    height, width = small_size((224, 224), 5000)
    assert height == width
    assert 5000 * 3 * height * width <= MOST_BYTES < 5000 * 3 * (height + 1) ** 2
    assert most_pictures((224, 224)) == MOST_BYTES // (3 * 32 * 32)


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        photograph(80, 60, seed=i).save(tmp_path / f"class{i % 2}" / f"{i}.png")
    return tmp_path


def opened(folder):
    parameters = {
        "factory": "torchvision.datasets:ImageFolder",
        "kwargs": {"root": str(folder)},
        "transform": {"resize": 48, "crop": 40},
        "unreadable": 0.9,
    }
    return open_images(ImageParameters.model_validate(parameters))


def test_copies_are_the_pictures_that_the_network_takes(folder):
    images = opened(folder)
    assert picture_shape(images) == (40, 40)
    copies = small_pictures.small_pictures(images, [3, 0], (40, 40))
    np.testing.assert_array_equal(copies, [images.picture(3), images.picture(0)])
    small = small_pictures.small_pictures(images, [3], (10, 10))
    expected = images.picture(3).reshape(10, 4, 10, 4, 3).mean(axis=(1, 3))
    assert np.abs(small[0] - expected).mean() < 20


def test_an_image_that_cannot_be_read_is_grey(folder):
    images = opened(folder)
    (folder / images.ids[1]).write_bytes(b"no picture")
    copies = small_pictures.small_pictures(images, [0, 1], (40, 40))
    assert (copies[1] == 200).all()
    np.testing.assert_array_equal(copies[0], images.picture(0))
