import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from strategies import convolutions, fully_connected, transposed_convolutions
from torch import nn

from ddp_tasks.weights.unfolding import (
    linear_part,
    mean_of_images,
    receptive_fields,
    transposed_filters,
    unfold_weight,
)


def _conv(**geometry):
    return nn.Conv2d(1, 1, 2, **geometry, dtype=torch.float64)


def test_receptive_fields_by_hand():
    # Of 1 2 3     the four 2x2 windows, row by row, are 1245, 2356, 4578, 5689:
    #    4 5 6     each is a column.
    #    7 8 9
    X = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 1, 3, 3)
    expected = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    assert receptive_fields(_conv(), X)[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("geometry", "column"),
    [
        # Stride 2 leaves one window of a 3x3 picture, dilation 2 takes its corners.
        ({"stride": 2}, [1, 2, 4, 5]),
        ({"dilation": 2}, [1, 3, 7, 9]),
        # The first window of the padded picture ends on its upper left pixel, 1. Before 1 stand
        # zeros; its mirror images (not repeating the edge) 2, 4 and 5; its own repetitions; or
        # the opposite ends 3, 7 and 9.
        ({"padding": 1}, [0, 0, 0, 1]),
        ({"padding": 1, "padding_mode": "reflect"}, [5, 4, 2, 1]),
        ({"padding": 1, "padding_mode": "replicate"}, [1, 1, 1, 1]),
        ({"padding": 1, "padding_mode": "circular"}, [9, 7, 3, 1]),
    ],
)
def test_first_receptive_field_of_each_geometry_by_hand(geometry, column):
    X = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 1, 3, 3)
    assert receptive_fields(_conv(**geometry), X)[0, 0, :, 0].tolist() == column


def test_unfolded_weight_has_a_flattened_filter_in_each_row():
    W = torch.arange(24.0).reshape(2, 3, 2, 2)
    # Row-major (Eq. 2): filter 1 is the second dozen, channel by channel, row by row.
    assert unfold_weight(W).tolist() == [list(range(12)), list(range(12, 24))]
    assert unfold_weight(W).data_ptr() == W.data_ptr()


# torch tells that it copies its input there; what it computes is what is asked for.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@given(convolutions())
def test_unfolded_weight_times_receptive_fields_is_convolution(example):
    # Eq. 8. Whole numbers: float64 gives their sums of products exactly, so no tolerance.
    module, X = example
    Psi = receptive_fields(module, X)
    output = module(X)
    blocks = unfold_weight(module.weight).reshape(module.groups, -1, Psi.shape[2])
    Y = (blocks @ Psi).flatten(1, 2)

    assert torch.equal(Y, linear_part(module, output))
    mean = mean_of_images(output, len(X), channels_last=False)
    assert torch.equal(mean, output.flatten(2).mean(dim=2))
    geometry = {
        "stride": module.stride,
        "padding": module.padding,
        "dilation": module.dilation,
        "mode": module.padding_mode,
    }
    W = module.weight.numpy()
    for image in range(len(X)):
        by_loops = reference.convolution(X[image].numpy(), W, groups=module.groups, **geometry)
        np.testing.assert_array_equal(Y[image].numpy(), by_loops)
        fields = reference.receptive_fields(X[image].numpy(), module.kernel_size, **geometry)
        np.testing.assert_array_equal(Psi[image].flatten(0, 1).numpy(), fields)


def test_transposed_convolution_by_hand():
    # Stride 2 lays the kernel 1 2 3 down for each of 10 and 20, two places on:
    #    10  20  30
    #            20  40  60      in all 10 20 50 40 60.
    # As a cross-correlation the flipped kernel 3 2 1 slides over 0 0 10 0 20 0 0.
    module = nn.ConvTranspose1d(1, 1, 3, stride=2, bias=False, dtype=torch.float64)
    X = torch.tensor([[[10.0, 20.0]]], dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[[1.0, 2.0, 3.0]]]))
        assert module(X).tolist() == [[[10, 20, 50, 40, 60]]]
    assert transposed_filters(module.weight).tolist() == [[[3, 2, 1]]]
    columns = receptive_fields(module, X)[0, 0].T.tolist()
    assert columns == [[0, 0, 10], [0, 10, 0], [10, 0, 20], [0, 20, 0], [20, 0, 0]]


def test_filters_of_a_transposed_convolution_with_groups_by_hand():
    # Weight (c, d / g) = (4, 3) in two groups: channels 0 and 1 give outputs 0 to 2, channels
    # 2 and 3 give outputs 3 to 5.
    W = torch.arange(12.0).reshape(4, 3, 1)
    expected = [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8, 11]]
    assert transposed_filters(W, groups=2)[..., 0].tolist() == expected


@given(transposed_convolutions())
def test_unfolded_weight_times_receptive_fields_is_transposed_convolution(example):
    # Eq. 8 with the derived filters. Whole numbers: exact.
    module, X = example
    Psi = receptive_fields(module, X)
    filters = transposed_filters(module.weight, module.groups)
    blocks = unfold_weight(filters).reshape(module.groups, -1, Psi.shape[2])
    Y = (blocks @ Psi).flatten(1, 2)
    assert torch.equal(Y, linear_part(module, module(X)))
    for image in range(len(X)):
        by_loops = reference.transposed_convolution(
            X[image].numpy(),
            module.weight.numpy(),
            stride=module.stride,
            padding=module.padding,
            output_padding=module.output_padding,
            dilation=module.dilation,
            groups=module.groups,
        )
        np.testing.assert_array_equal(Y[image].numpy(), by_loops)


@given(fully_connected())
def test_every_position_of_a_sequence_is_a_receptive_field(example):
    module, X = example
    output = module(X)
    Psi = receptive_fields(module, X)
    positions = int(np.prod(X.shape[1:-1]))
    assert Psi.shape == (len(X), 1, module.in_features, positions)

    Y = (unfold_weight(module.weight) @ Psi)[:, 0]
    assert torch.equal(Y, linear_part(module, output))
    flat = X.reshape(len(X), positions, module.in_features)
    for image in range(len(X)):
        for position in range(positions):
            assert torch.equal(Psi[image, 0, :, position], flat[image, position])
    mean = output.reshape(len(X), positions, module.out_features).sum(dim=1) / positions
    # Whole numbers sum exactly; dividing them once may round in the last of 53 bits.
    found = mean_of_images(output, len(X), channels_last=True)
    torch.testing.assert_close(found, mean, rtol=2**-52, atol=0)


def test_the_mean_over_one_position_is_the_output():
    output = torch.tensor([[1.0, 2.0]])
    assert torch.equal(mean_of_images(output, 1, channels_last=True), output)


def test_mean_of_images_by_hand_wherever_the_images_stand():
    # Two images in two windows of two positions; the mean of 0 1 2 3 is 1.5, of 4 5 6 7 it is 5.5.
    output = torch.arange(8.0).reshape(4, 2, 1)
    assert mean_of_images(output, 2, channels_last=True).tolist() == [[1.5], [5.5]]
    # Sequences first: positions 0 to 3 of images 0 and 1 are 0 2 4 6 and 1 3 5 7.
    sequences = torch.arange(8.0).reshape(4, 2, 1)
    mean = mean_of_images(sequences, 2, channels_last=True, image_axis=1)
    assert mean.tolist() == [[3], [4]]
    channels_second = torch.arange(8.0).reshape(4, 1, 2)
    assert mean_of_images(channels_second, 2, channels_last=False).tolist() == [[1.5], [5.5]]
    with pytest.raises(ValueError, match="4 rows for 3 images"):
        mean_of_images(output, 3, channels_last=True)


def test_the_mean_of_half_precision_is_taken_in_single():
    # 1 and its neighbour 1 + 2**-7 have a mean that bfloat16 does not have.
    output = torch.tensor([[[1, 1 + 2**-7]]], dtype=torch.bfloat16)
    mean = mean_of_images(output, 1, channels_last=False)
    assert mean.dtype == torch.float32
    assert mean.item() == 1 + 2**-8
