"""Pictures of every form against what NumPy says of them by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_tasks.images.pixels import colours, pixels

GREY = np.array([[0, 1, 127], [128, 254, 255]], dtype=np.uint8)
SIXTEEN = np.array([[0, 255, 256], [32767, 65279, 65535]], dtype=np.uint16)
UPPER = np.array([[0, 0, 1], [127, 254, 255]], dtype=np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
FLOATS = np.array([[0.0, -1.5], [2.5, 1e6]], dtype=np.float32)


def _palette():
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)).convert("L")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


_FIRST = [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY[None]),
        (Image.fromarray(COLOURS), COLOURS.transpose(2, 0, 1)),
        (Image.fromarray(SIXTEEN), UPPER[None]),
        (Image.fromarray(SIXTEEN.astype(np.int32)), UPPER[None]),
        (Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)[None]),
        (Image.fromarray(np.stack([GREY, 255 - GREY], axis=2)), GREY[None]),
        (_palette(), np.eye(3)[_FIRST].transpose(2, 0, 1) * 255),
        (Image.new("CMYK", (1, 1), (255, 0, 0, 0)), np.array([0, 255, 255])[:, None, None]),
        (
            Image.fromarray(np.dstack([COLOURS, GREY])),
            np.dstack([COLOURS, GREY]).transpose(2, 0, 1),
        ),
    ],
    ids=["L", "RGB", "I;16", "I", "1", "LA", "P", "CMYK", "RGBA"],
)
def test_pil_images_of_every_mode_are_eight_bits_with_channels_first(image, expected):
    found = pixels(image)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), expected)


def test_images_of_floats_stay_floats():
    found = pixels(Image.fromarray(FLOATS))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), FLOATS[None])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[None]),
        (COLOURS, COLOURS.transpose(2, 0, 1)),
        (SIXTEEN, UPPER[None]),
        (SIXTEEN.astype(">u2"), UPPER[None]),
        (np.dstack([SIXTEEN] * 3), np.stack([UPPER] * 3)),
        (GREY > 127, np.where(GREY > 127, 255, 0)[None]),
        (np.asfortranarray(GREY), GREY[None]),
        # Five columns cannot be channels, so that the first axis is.
        (np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5))),
    ],
)
def test_numpy_pictures_are_eight_bits_with_channels_first(array, expected):
    found = pixels(array)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3), (1, 2, 3, 4)])
def test_float_arrays_and_tensors_stay_as_they_are(shape):
    array = np.random.default_rng(1).normal(size=shape)
    for given in (array, torch.from_numpy(array)):
        found = pixels(given)
        assert found.dtype == torch.float64
        np.testing.assert_array_equal(found.numpy(), array)


def test_a_tensor_of_sixteen_bits_keeps_the_upper_byte():
    found = pixels(torch.from_numpy(SIXTEEN)[None])
    np.testing.assert_array_equal(found.numpy(), UPPER[None])


def test_grey_files_of_sixteen_bits_are_not_clipped_to_white(tmp_path):
    Image.fromarray(SIXTEEN).save(tmp_path / "scan.png")
    with Image.open(tmp_path / "scan.png") as image:
        np.testing.assert_array_equal(colours(image).numpy(), np.stack([UPPER] * 3))


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_beyond_sixteen_bits_are_refused(value):
    with pytest.raises(ValueError, match=rf"integers from .*{value}"):
        pixels(Image.fromarray(np.array([[0, value]], dtype=np.int32)))


def test_files_of_floats_are_refused_since_their_white_is_not_known():
    with pytest.raises(ValueError, match="black and white are not known"):
        colours(Image.fromarray(FLOATS))


@pytest.mark.parametrize("thing", ["a.png", None, [[0, 1]], np.array(["x"])])
def test_what_is_no_picture_is_refused(thing):
    with pytest.raises(ValueError, match="is not a picture"):
        pixels(thing)
