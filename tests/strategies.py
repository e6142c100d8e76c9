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


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Conv2d, Tensor]:
    """A convolution of any geometry with whole-number weights, and inputs for it, in float64."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(
        st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*[st.integers(0, 2)] * 2))
    )
    # torch defines 'same' for stride 1 alone.
    strides = st.just(1) if padding == "same" else st.integers(1, 3)
    module = nn.Conv2d(
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        kernel_size=kernel,
        stride=draw(st.tuples(strides, strides)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=torch.float64,
    )
    # Large enough for one receptive field without padding, and for reflecting two pixels.
    sides = [max(dilation[a] * (kernel[a] - 1) + 1, 3) + draw(st.integers(0, 2)) for a in (0, 1)]
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


def _fill(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
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
def cubes(draw: st.DrawFn) -> Cube:
    """Ragged cubes with ties, classes without images and parts without images among them."""
    images = draw(st.integers(1, 12))
    ranks = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    target_classes = draw(st.integers(1, 4))
    shape = (images, len(ranks), max(ranks))
    signals = draw(hnp.arrays(np.float32, shape, elements=HALVES))
    for layer, rank in enumerate(ranks):
        signals[:, layer, rank:] = np.nan
    targets = draw(hnp.arrays(np.int64, images, elements=st.integers(0, target_classes - 1)))
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
