import re
from dataclasses import replace
from html import escape

import numpy as np
import pytest
from capacity_findings import families, resnets
from pages import assert_nothing_is_loaded_from_elsewhere, opened, without_data

from ddp_tasks.capacity.tables import DEFINITIONS
from ddp_tasks.report import capacity_page


@pytest.fixture(scope="module")
def found():
    whole = resnets(failed=True)
    return replace(whole, zoo=whole.zoo.isel(model=[0, 1, 2, 4]))


@pytest.fixture(scope="module")
def page(found):
    return capacity_page.render(found)


def _told(page):
    return re.sub(r"\s+", " ", without_data(page))


def test_nothing_is_loaded_from_elsewhere(page):
    assert_nothing_is_loaded_from_elsewhere(page)


def test_the_page_says_what_was_found(page, found):
    told = _told(page)
    assert "<h1>CIFAR-10 ResNets</h1>" in told
    assert "of 3 models of 1 family is compared with" in told
    for model in ("resnet20", "resnet32", "resnet44"):
        assert f">{model}</h2>" in told
    for name in DEFINITIONS:
        assert f"<dt>{escape(name)}</dt>" in told
    assert "torch 2" in told
    sums = found.zoo["alpha_hat"].sel(model="resnet32").to_numpy()
    errors = found.zoo["alpha_hat_error"].sel(model="resnet32").to_numpy()
    for value, error in zip(sums, errors, strict=True):
        assert f">{value:,.2f} ± {error:,.2f}</td>".replace("-", "−") in told


def test_failures_and_refusals_are_told_with_their_reason(page):
    told = _told(page)
    assert "failed: no such file: &lt;resnet110.pt&gt;" in told
    assert "Not drawn, since they failed: resnet110." in told
    assert ">resnet110</h2>" not in told
    assert "slices d × c: fewer than 4 distinct positive values" in told
    assert (
        "† resnet20: layers without a power law, left out of sum and mean: slices d × c 1 of 20"
        in told
    )


def test_fits_to_few_eigenvalues_are_flagged(page, found):
    told = _told(page)
    of = found.zoo.sel(model="resnet32", matrization="unfolded")
    few, layers = int(of["few_tails"]), int(of["layers"])
    assert few > 0
    assert f"resnet32, to be read with care: W̄₁: {few} of {layers} tails have fewer than 20" in told
    flagged = sum(
        int(((one["independent"] < 20) & one["alpha"].notnull()).sum())
        for one in found.capacity.values()
        if one is not found.capacity["resnet56"]
    )
    assert len(re.findall(r'eigenvalues?">few</span>', told)) == flagged


def test_each_figure_says_whether_it_shows_the_sum_or_the_mean(page):
    assert "<h3>α̂, sum over layers</h3>" in page
    assert "<h3>α̂, mean over layers</h3>" in page


def test_past_twelve_models_the_rest_are_rows_of_the_table(monkeypatch):
    monkeypatch.setattr(capacity_page, "_SECTIONS", 1)
    told = _told(capacity_page.render(families(2)))
    assert "The first 1 of 5 models have a section" in told
    assert told.count('id="model-') == 1
    assert "menet_24x8d" in told


def test_models_without_accuracy_or_spectra_have_a_page():
    whole = resnets()
    bare = whole.capacity["resnet20"].isel(layer=[0, 1])
    for name in ("density", "alpha", "lambda_max"):
        bare[name] = bare[name] * np.nan
    bare["refusal"] = bare["refusal"].astype(object) + "the weight is zero throughout"
    zoo = whole.zoo.isel(model=[0])
    zoo["alpha_hat"] = zoo["alpha_hat"] * np.nan
    told = _told(capacity_page.render(replace(whole, zoo=zoo, capacity={"resnet20": bare})))
    assert "too few models to correlate" in told
    assert "No layer of this model has a spectrum." in told
    assert "the weight is zero throughout" in told
    assert "No model has both α̂ and a test accuracy." in told
    lacking = "resnet20 (W̄₁, W̄₂, slices d × c, channels k × k)"
    assert f"Not drawn, since α̂ or test accuracy is missing: {lacking}" in told


def test_the_page_opens_without_a_network(browser, page, tmp_path):
    shown = opened(browser, page, tmp_path)
    assert len(shown.figures) == 2 * 4 + 3 * 5
    assert min(shown.figures) > 200
    assert shown.width <= shown.window
    assert shown.errors == []


def test_folded_layers_and_exact_boundaries_are_told_with_what_is_left_out():
    whole = resnets()
    of_model = whole.capacity["resnet20"]
    layers = of_model["layer"].to_numpy().tolist()
    some = [name.startswith("layer1.0") for name in layers]
    compared = np.where(some, 0.1234, np.nan)
    told = of_model.assign(
        batch_norm=("layer", ["bn1", *[""] * (len(layers) - 1)]),
        not_folded=("layer", [*[""] * (len(layers) - 1), "add uses its output, <beside> bn2"]),
        boundary_input=("layer", ["8 × 8" if one else "" for one in some]),
        boundary_whole=("layer", [False] * len(layers)),
        boundary_refusal=("layer", ["" if one else "there is no boundary" for one in some]),
        **{
            f"boundary_{name}": (("boundary", "layer"), np.stack([compared, 2 * compared]))
            for name in ("largest", "frobenius", "spectrum")
        },
    ).assign_coords(boundary=["zeros", "valid"])
    page = capacity_page.render(replace(whole, capacity={**whole.capacity, "resnet20": told}))
    own = _told(page)
    assert own.count("Periodic images beside exact boundaries") == 1
    assert "<td>8 × 8 *</td>" in own
    row = own[own.index("<td>8 × 8 *</td>") :]
    assert re.findall(r">([+−.\d]+)</td>", row)[:6] == [
        *("+0.123", "+0.123", "0.123"),
        *("+0.247", "+0.247", "0.247"),
    ]
    assert "Not compared (there is no boundary): conv1, layer1.1.conv1" in own
    assert "conv1 with bn1" in own
    assert "Not folded: linear: add uses its output, &lt;beside&gt; bn2" in own
