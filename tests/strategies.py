"""What the properties are tried on: layers, weights, cubes of signals, incidence tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

SEEDS = st.integers(0, 2**31 - 1)

#: Halves between -4 and 4: exact in floating point, and drawn often enough twice to tie.
HALVES = st.integers(-8, 8).map(lambda twice: twice / 2)


def whole_numbers(generator: torch.Generator, *shape: int) -> Tensor:
    """Float64 whole numbers from -4 to 4: their sums of products are exact in any order."""
    return torch.randint(-4, 5, shape, generator=generator).to(torch.float64)


_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _each_axis(dimensions: int, least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(least, most)] * dimensions)


@st.composite
def convolutions(
    draw: st.DrawFn, axes: tuple[int, ...] = (2, 1, 3)
) -> tuple[nn.Conv1d | nn.Conv2d | nn.Conv3d, Tensor]:
    """A convolution of any geometry with whole-number weights, and inputs for it, in float64."""
    dimensions = draw(st.sampled_from(axes))
    largest = 2 if dimensions == 3 else 3
    groups = draw(st.integers(1, 3))
    kernel = draw(_each_axis(dimensions, 1, largest))
    dilation = draw(_each_axis(dimensions, 1, 2))
    padding = draw(
        st.one_of(st.sampled_from(["same", "valid"]), _each_axis(dimensions, 0, largest - 1))
    )
    module = _CONVOLUTIONS[dimensions](
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        kernel_size=kernel,
        # torch defines 'same' for stride 1 alone.
        stride=draw(_each_axis(dimensions, 1, 1 if padding == "same" else 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=torch.float64,
    )
    # Large enough for one receptive field without padding, and for reflecting two pixels.
    sides = [
        max(d * (k - 1) + 1, 3) + draw(st.integers(0, 4 - largest + 1))
        for d, k in zip(dilation, kernel, strict=True)
    ]
    generator = torch.Generator().manual_seed(draw(SEEDS))
    _fill(module, generator)
    return module, whole_numbers(generator, draw(st.integers(1, 2)), module.in_channels, *sides)


@st.composite
def transposed_convolutions(
    draw: st.DrawFn,
) -> tuple[nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d, Tensor]:
    """A transposed convolution of any geometry, and inputs for it, whole numbers in float64."""
    dimensions = draw(st.sampled_from([2, 1, 3]))
    groups = draw(st.integers(1, 3))
    kernel = draw(_each_axis(dimensions, 1, 3))
    stride = draw(_each_axis(dimensions, 1, 3))
    dilation = draw(_each_axis(dimensions, 1, 2))
    # torch takes less output padding than the stride or the dilation.
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    padding = draw(_each_axis(dimensions, 0, 3))
    sides = [draw(st.integers(1, 3)) for _ in kernel]
    for axis in range(dimensions):
        # At least one entry of output must be left.
        whole = (sides[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        if whole + more[axis] - 2 * padding[axis] < 1:
            padding = (*padding[:axis], 0, *padding[axis + 1 :])
    module = _TRANSPOSED[dimensions](
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        output_padding=tuple(more),
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(draw(SEEDS))
    _fill(module, generator)
    return module, whole_numbers(generator, draw(st.integers(1, 2)), module.in_channels, *sides)


@st.composite
def fully_connected(draw: st.DrawFn) -> tuple[nn.Linear, Tensor]:
    """A fully connected layer with whole-number weights, and inputs of any number of positions."""
    module = nn.Linear(
        draw(st.integers(1, 5)), draw(st.integers(1, 5)), bias=draw(st.booleans())
    ).double()
    generator = torch.Generator().manual_seed(draw(SEEDS))
    _fill(module, generator)
    positions = draw(st.lists(st.integers(1, 3), max_size=2))
    return module, whole_numbers(generator, draw(st.integers(1, 3)), *positions, module.in_features)


def _fill(module: nn.Module, generator: torch.Generator) -> None:
    module.requires_grad_(False)
    for parameter in module.parameters():
        parameter.copy_(whole_numbers(generator, *parameter.shape))


@st.composite
def grouped_weights(draw: st.DrawFn) -> tuple[Tensor, int]:
    """An unfolded weight of shape (d, c*k*k / groups), full of normal numbers, and its groups.

    One column (depthwise, 1x1) to wide, tall and square blocks.
    """
    groups = draw(st.integers(1, 4))
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    W = torch.randn(groups * rows, columns, generator=generator, dtype=torch.float64)
    return W * 10.0 ** draw(st.integers(-6, 6)), groups


@dataclass(frozen=True)
class Cube:
    """Signals (image, layer, singular vector), NaN past each layer's rank."""

    signals: np.ndarray
    targets: np.ndarray
    """-1 for an image that could not be read, whose signals are NaN."""
    ranks: tuple[int, ...]
    target_classes: int
    cuts: tuple[int, ...]
    """where the images are cut into parts."""

    def parts(self):
        """The parts, as a pass over the store gives them."""
        return [
            (self.signals[start:stop], self.targets[start:stop])
            for start, stop in zip((0, *self.cuts), (*self.cuts, len(self.targets)), strict=True)
        ]

    def whole(self):
        """One part with everything."""
        return [(self.signals, self.targets)]


@st.composite
def cubes(draw: st.DrawFn, unread: bool = False, unreached: bool = False) -> Cube:
    """Ragged cubes with ties, classes without images and parts without images among them.

    Where ``unread``, some of the images could not be read. Where ``unreached``, some do not
    reach some layers, of which each has one image at least.
    """
    images = draw(st.integers(1, 12))
    ranks = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    target_classes = draw(st.integers(1, 4))
    shape = (images, len(ranks), max(ranks))
    signals = draw(hnp.arrays(np.float32, shape, elements=HALVES))
    for layer, rank in enumerate(ranks):
        signals[:, layer, rank:] = np.nan
    targets = draw(hnp.arrays(np.int64, images, elements=st.integers(0, target_classes - 1)))
    if unread:
        missing = draw(hnp.arrays(np.bool_, images, elements=st.sampled_from([False] * 4 + [True])))
        targets[missing], signals[missing] = -1, np.nan
    if unreached:
        mask = hnp.arrays(np.bool_, (images, len(ranks)), elements=st.booleans())
        signals[draw(mask)] = np.nan
        reached = draw(st.integers(0, images - 1))
        targets[reached] = max(0, targets[reached])
        for layer, rank in enumerate(ranks):
            signals[reached, layer, :rank] = 0.5
    cuts = tuple(sorted(draw(st.lists(st.integers(0, images), max_size=3))))
    return Cube(signals, targets, ranks, target_classes, cuts)


LEVELS = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True).map(
    lambda levels: tuple(sorted(levels))
)


@st.composite
def incidence_tables(draw: st.DrawFn) -> np.ndarray:
    """Which singular vectors are significant for which classes, shape (class, vector)."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8)))
    return draw(hnp.arrays(np.bool_, shape))
