"""One layer of a model under every matrization, as a worker computes it, with no cluster."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

from ddp_tasks.capacity.layer_spectra import model_dataset, toeplitz_size
from ddp_tasks.capacity.metric import Matrization
from ddp_tasks.capacity.toeplitz import blocks, symbol, toeplitz_spectrum
from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.workers.spectra import ModelSpectra, layer_spectra, toeplitz_block, trace
from schemas.parameters import ModelParameters
from schemas.variables import validate


class Unusual(nn.Module):
    """A transposed, a circular, a functional and a normalised convolution, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.up = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1)
            self.ring = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
            self.strided = nn.Parameter(torch.randn(5, 4, 3, 3) / 6)
            self.last = nn.Conv2d(5, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.skipped = nn.Conv2d(6, 6, 1)
            self.beside = nn.BatchNorm2d(6)
            self.fc = nn.Linear(6, 3)

    def forward(self, images):
        x = self.ring(self.up(images).relu()).relu()
        x = functional.conv2d(x, self.strided, stride=2, padding=1, dilation=1)
        x = self.norm(self.last(x)).relu()
        y = self.skipped(x)
        return self.fc((self.beside(y) + y).mean((2, 3)))


class Negative(Unusual):
    """With a variance below zero, of which no BatchNorm can be folded into numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm.running_var.fill_(-1)


INPUT = (2, 4, 4)
EVERY = tuple(Matrization)


@pytest.fixture(scope="module")
def network():
    return Unusual().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def layers(network):
    return trace(network, INPUT, "Unusual")


def asked(network="Unusual", **changes):
    model = ModelParameters(factory=f"{__file__}:{network}")
    digest = model_digest(open_model(model))
    return ModelSpectra(model.model_dump_json(), digest, INPUT, EVERY, **changes)


@pytest.fixture(scope="module")
def whole(layers):
    rows = [
        layer_spectra(asked(fold_batch_norm=True, boundary_side=256), one.name) for one in layers
    ]
    return model_dataset(rows, layers, EVERY)


def toeplitz_norm(found, layer):
    return float(found.sel(layer=layer, matrization="toeplitz")["log_norm"])


def test_every_layer_has_every_matrization(whole, layers):
    validate(whole, "capacity/unusual")
    assert whole["layer"].values.tolist() == ["up", "ring", "strided", "last", "skipped", "fc"]
    assert np.isfinite(whole["lambda_max"]).all()


@pytest.mark.parametrize(
    ("layer", "size", "stride"),
    [("up", (8, 8), 2), ("ring", (8, 8), 1), ("strided", (8, 8), 2)],
)
def test_the_toeplitz_spectrum_is_that_at_the_layers_own_size(whole, network, layer, size, stride):
    # The image of the circular layer is 8 x 8, though torch's convolution is given 10 x 10.
    W = network.strided if layer == "strided" else network.get_submodule(layer).weight
    S = toeplitz_spectrum(W, size, stride=stride)
    row = whole.sel(layer=layer, matrization="toeplitz")
    assert int(row["values"] + row["zeros"]) == len(S)
    assert float(row["lambda_max"]) == pytest.approx(float(S[0]) ** 2)
    assert float(row["log_norm"]) == pytest.approx(np.log10(float(S.square().sum())))


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [("up", (8, 8), 2), ("ring", (8, 8), 1), ("strided", (8, 8), 2), ("last", (4, 4), 1)],
)
def test_values_and_blocks_of_w2_are_known_without_the_weight(layers, network, name, size, stride):
    W = network.strided if name == "strided" else network.get_submodule(name).weight
    known = toeplitz_size(network, next(one for one in layers if one.name == name))
    terms = symbol(W, size, stride=stride)
    assert known.values == terms.values
    for memory in (1, 10_000, 1 << 28):
        assert known.blocks(memory) == blocks(terms, memory)


@pytest.mark.parametrize("layer", ["up", "ring", "strided", "last"])
def test_a_layer_is_the_same_whoever_computes_its_blocks(layers, network, layer):
    folded = asked(fold_batch_norm=True)
    size = toeplitz_size(network, next(one for one in layers if one.name == layer))
    several = size.blocks(300)
    assert len(several) > 2
    parts = [toeplitz_block(folded, layer, block) for block in several]
    apart = layer_spectra(folded, layer, parts)
    # To rounding: on some processors a batch of another size gives other last bits.
    whole = layer_spectra(folded, layer)
    xr.testing.assert_allclose(apart, whole, rtol=1e-9, atol=1e-12, check_dim_order=True)
    assert apart.attrs == whole.attrs
    with pytest.raises(RuntimeError, match=f"{layer} has {size.values} singular values"):
        layer_spectra(folded, layer, parts[1:])


def test_a_weight_without_a_spectrum_is_refused_in_its_row_though_it_has_blocks():
    negative = asked("Negative", fold_batch_norm=True)
    parts = [toeplitz_block(negative, "last", block) for block in ((0, 1), (1, 10))]
    apart, whole = (layer_spectra(negative, "last", blocks) for blocks in (parts, ()))
    assert (apart["refusal"] == "the weight holds NaN or infinity").all()
    xr.testing.assert_identical(apart, whole)


def test_a_batch_norm_is_folded_or_named_with_its_reason(whole, network, layers):
    assert whole["batch_norm"].values.tolist() == ["", "", "", "norm", "", ""]
    told = dict(zip(whole["layer"].values, whole["not_folded"].values, strict=True))
    assert "beside" in told["skipped"]
    assert [name for name, why in told.items() if why] == ["skipped"]
    norm = network.norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    W = network.last.weight.double() * scale.double().reshape(-1, 1, 1, 1)
    S = torch.linalg.svdvals(W.flatten(1))
    found = whole.sel(layer="last", matrization="unfolded")
    assert float(found["lambda_max"]) == pytest.approx(float(S[0]) ** 2)
    plain = layer_spectra(asked(), "last")
    assert "batch_norm" not in plain
    W = network.last.weight.double().flatten(1)
    S = torch.linalg.svdvals(W)
    assert float(plain["lambda_max"][0]) == pytest.approx(float(S[0]) ** 2)


def test_boundaries_are_compared_where_matrices_are_small(whole):
    told = dict(zip(whole["layer"].values, whole["boundary_refusal"].values, strict=True))
    assert "no boundary" in told["skipped"]
    assert "no boundary" in told["fc"]
    assert [name for name, why in told.items() if not why] == ["up", "ring", "strided", "last"]
    assert whole["boundary_input"].sel(layer="last").item() == "4 × 4"
    assert bool(whole["boundary_whole"].sel(layer="last"))
    # Zeros beyond the edge take from the periodic sum of squares, and the valid rows are fewer.
    compared = whole["boundary_frobenius"].sel(layer="last")
    assert 0 < float(compared.sel(boundary="zeros")) < float(compared.sel(boundary="valid"))
    small = layer_spectra(asked(boundary_side=60), "last")
    assert small["boundary_input"].item() == "3 × 3"
    assert not bool(small["boundary_whole"])
    none = layer_spectra(asked(boundary_side=20), "last")
    assert "more than 20 rows and columns" in none["boundary_refusal"].item()
    assert np.isnan(none["boundary_largest"]).all()
