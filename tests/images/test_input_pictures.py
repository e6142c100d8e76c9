"""Drawn inputs against arrays made by hand."""

import numpy as np
import torch

from ddp_tasks.images.input_pictures import input_picture


def test_the_middle_slice_of_a_volume_is_shown_from_black_to_white():
    volume = torch.zeros(1, 5, 2, 3)
    volume[0, 2] = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    expected = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)
    found = input_picture(volume)
    assert found.shape == (2, 3, 3)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], expected)


def test_colours_stay_and_further_channels_are_left_out():
    picture = torch.arange(4 * 2 * 2, dtype=torch.uint8).reshape(4, 2, 2)
    np.testing.assert_array_equal(input_picture(picture), picture[:3].permute(1, 2, 0).numpy())


def test_a_vector_is_drawn_as_bars_up_and_down_from_zero():
    found = input_picture(torch.tensor([1.0, -1.0]))
    assert found.shape == (64, 64, 3)
    dark = found[..., 0] == 0
    # Zero is in the middle: the first bar fills the upper half, the second the lower one.
    upper, lower = dark[:31], dark[33:]
    assert upper[:, :31].all()
    assert lower[:, 32:63].all()
    assert not upper[:, 32:].any()
    assert not lower[:, :31].any()


def test_a_long_vector_is_drawn_by_the_means_of_neighbours():
    vector = torch.zeros(640)
    vector[320:] = 1.0
    dark = input_picture(vector)[..., 0] == 0
    np.testing.assert_array_equal(dark.sum(axis=0), [1] * 32 + [64] * 32)


def test_signals_are_lines_from_their_least_to_their_greatest():
    rising = torch.linspace(0, 1, 65)[None]
    found = input_picture(rising)[..., 0]
    rows = np.argmax(found < 255, axis=0)
    # The line rises from the last row to the first, and no column is empty.
    assert (found < 255).any(axis=0).all()
    assert (np.diff(rows) <= 0).all()
    assert rows[0] >= 62
    assert rows[-1] == 0


def test_rows_that_meet_are_darker_than_one_alone():
    signals = torch.zeros(4, 64)
    signals[0] = 1.0
    found = input_picture(signals)[..., 0].astype(int)
    assert found[0].max() == 127  # one of four: 1 - 1/sqrt(4)
    assert found[63].max() == 0  # three of four


def test_inputs_of_one_value_are_drawn():
    for shape in [(1,), (3, 1), (2, 7), (1, 4, 4), (1, 1, 1, 1), (2, 2, 2, 2, 2)]:
        found = input_picture(torch.full(shape, 7.0))
        assert found.dtype == np.uint8
        assert found.shape[-1] == 3
