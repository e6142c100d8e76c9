import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from capacity_findings import MATRIZATIONS, capacity, families, resnet, resnets
from scipy import stats

from ddp_tasks.capacity import association, tables
from ddp_tasks.figures import capacity_figures, point_labels, spectral_figures, spectral_panels
from ddp_tasks.figures.notation import text_width

MEASURES = tuple(association.MEASURES)


@pytest.fixture(scope="module")
def three():
    return families(4)


@pytest.fixture(scope="module")
def small():
    return capacity(resnet(8), refuse={("linear", "toeplitz")})


def _parts(overlay, group):
    return [element for element in overlay if element.group == group]


def _title(overlay):
    return hv.Store.lookup_options("bokeh", overlay, "plot").kwargs["title"]


def _of_family(zoo, family, matrization, measure):
    chosen = (zoo["family"] == family) & (zoo["error"] == "") if family else zoo["error"] == ""
    of = zoo.isel(model=np.flatnonzero(chosen))
    return of[measure].sel(matrization=matrization).to_numpy(), of["accuracy"].to_numpy()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("matrization", MATRIZATIONS)
def test_lines_are_least_squares_fits_of_accuracy(three, matrization, measure):
    overlay = capacity_figures.alpha_hat_figure(three.zoo, matrization, measure)
    lines = {line.label: line.array() for line in _parts(overlay, "Fit")}
    assert set(lines) == {"ResNeXt", "FD-MobileNet", "MeNet", "all models"}
    for label, line in lines.items():
        x, y = _of_family(three.zoo, label.replace("all models", ""), matrization, measure)
        np.testing.assert_allclose(line[:, 0], [x.min(), x.max()])
        np.testing.assert_allclose(line[:, 1], np.polyval(np.polyfit(x, y, 1), line[:, 0]))


def test_coefficients_are_those_of_scipy_over_the_models_drawn(three):
    for family, found in association.associations(three.zoo, "unfolded", "alpha_hat").items():
        x, y = _of_family(three.zoo, family, "unfolded", "alpha_hat")
        assert found.models == len(x)
        assert found.pearson == pytest.approx(stats.pearsonr(x, y)[0])
        assert found.spearman == pytest.approx(stats.spearmanr(x, y)[0])
        assert found.kendall == pytest.approx(stats.kendalltau(x, y)[0])
    title = _title(capacity_figures.alpha_hat_figure(three.zoo, "unfolded"))
    assert title == found.coefficients()
    assert title.endswith("n = 11")
    assert f"Pearson {found.pearson:.2f}" in title.replace("−", "-")


def test_points_are_the_models_that_did_not_fail(three):
    overlay = capacity_figures.alpha_hat_figure(three.zoo, "toeplitz")
    points = _parts(overlay, "Models")
    drawn = {model: family.label for family in points for model in family["model"]}
    works = three.zoo.isel(model=np.flatnonzero(three.zoo["error"] == ""))
    assert drawn == dict(zip(works["model"].values, works["family"].values, strict=True))
    for family in points:
        told = three.zoo.sel(model=family["model"].tolist(), matrization="toeplitz")
        np.testing.assert_array_equal(family.dimension_values(0), told["alpha_hat"])
        np.testing.assert_array_equal(family.dimension_values(1), told["accuracy"])


@pytest.mark.parametrize("measure", MEASURES)
def test_axes_are_named_after_what_they_measure(three, measure):
    overlay = capacity_figures.alpha_hat_figure(three.zoo, "unfolded", measure)
    drawn = hv.renderer("bokeh").get_plot(overlay).state
    assert drawn.xaxis[0].axis_label == association.MEASURES[measure]
    assert drawn.yaxis[0].axis_label == "test accuracy, %"


def test_names_stand_beside_the_error_bars_where_there_is_room():
    zoo = resnets().zoo.isel(model=slice(3)).copy(deep=True)
    zoo["alpha_hat"][:] = np.array([100.0, 200.0, 300.0])
    zoo["alpha_hat_error"][:] = 25.0
    overlay = capacity_figures.alpha_hat_figure(zoo, "unfolded")
    (names,), (bars,) = _parts(overlay, "Names"), _parts(overlay, "Errors")
    low, high = hv.Store.lookup_options("bokeh", overlay, "plot").kwargs["ylim"]
    pixel = (high - low) / 280
    for y in bars.dimension_values(1):
        assert (np.abs(names.dimension_values(1) - y) > 6 * pixel).all()


def test_panels_share_no_dimension(three):
    panels = [
        capacity_figures.alpha_hat_figure(three.zoo, m, measure)
        for m in MATRIZATIONS
        for measure in MEASURES
    ]
    dims = [{d.name for d in _parts(p, "Models")[0].dimensions()[:2]} for p in panels]
    assert len(set.union(*dims)) == 2 * len(panels)


def test_families_differ_in_colour_and_marker(three):
    styles = capacity_figures.family_styles(three.zoo)
    assert list(styles) == ["ResNeXt", "FD-MobileNet", "MeNet"]
    assert len({colour for colour, _ in styles.values()}) == 3
    assert len({marker for _, marker in styles.values()}) == 3


def test_names_stand_apart_up_to_twelve_models(three):
    (names,) = _parts(capacity_figures.alpha_hat_figure(three.zoo, "slices"), "Names")
    assert len(names) == 11
    assert not _parts(capacity_figures.alpha_hat_figure(families().zoo, "slices"), "Names")


def test_labels_cover_neither_labels_nor_points_nor_leave_the_frame():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (12, 2)) * (150, 80) + (60, 60)
    widths = [text_width(f"model_{i}", 11) for i in range(12)]
    lines = np.array([[[0.0, 0.0], [300.0, 200.0]]])
    labels = point_labels.place_labels(points, widths, 13, (300, 200), lines)
    assert len(labels) > 8
    boxes = [
        (label.x - widths[label.point] / 2, label.y - 6.5, label.x + widths[label.point] / 2)
        for label in labels
    ]
    for i, (left, low, right) in enumerate(boxes):
        assert left >= 0
        assert right <= 300
        assert 0 <= low <= 200 - 13
        covered = (points > (left, low)) & (points < (right, low + 13))
        assert not covered.all(axis=1).any()
        for other_left, other_low, other_right in boxes[:i]:
            beside = left >= other_right or other_left >= right
            assert beside or abs(low - other_low) >= 13


def test_two_models_get_neither_line_nor_coefficient():
    zoo = resnets().zoo.isel(model=slice(2))
    overlay = capacity_figures.alpha_hat_figure(zoo, "unfolded")
    assert not _parts(overlay, "Fit")
    assert _title(overlay) == "n = 2: too few to correlate"


def test_values_that_do_not_vary_are_no_error():
    flat = association.association(np.full(4, 7.1), np.arange(4.0))
    assert not flat.fitted
    assert flat.coefficients() == "n = 4: no correlation"
    level = association.association(np.arange(4.0), np.full(4, 93.1))
    assert level.slope == pytest.approx(0)
    assert not level.correlated


def test_one_model_is_drawn_and_none_is_refused():
    zoo = resnets(failed=True).zoo
    overlay = capacity_figures.alpha_hat_figure(zoo.isel(model=[1]), "unfolded")
    assert len(_parts(overlay, "Models")[0]) == 1
    hv.renderer("bokeh").get_plot(overlay)
    with pytest.raises(ValueError, match="no model has alpha_hat for unfolded"):
        capacity_figures.alpha_hat_figure(zoo.isel(model=[4]), "unfolded")


def test_spectra_show_the_density_xmin_and_the_power_law(small):
    panels = spectral_figures.spectral_distributions(small, "conv1")
    assert list(panels) == list(MATRIZATIONS)
    for m, overlay in panels.items():
        one = small.sel(layer="conv1", matrization=m)
        bars = _parts(overlay, "Bars")[0]
        left, _, right, high = (bars.dimension_values(i) for i in range(4))
        assert bars["share"].sum() == pytest.approx(1)
        np.testing.assert_allclose(high * (right - left), bars["share"])
        (xmin,) = _parts(overlay, "Xmin")
        assert xmin.data == float(one["xmin"])
        (law,) = _parts(overlay, "Power law")
        (x0, y0), (x1, y1) = law.array()
        assert (x0, x1) == (float(one["xmin"]), float(one["lambda_max"]))
        alpha = float(one["alpha"])
        assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(-alpha)
        # What lies below the law, were it to go on for ever, is the tail's share.
        assert y0 * x0 / (alpha - 1) == pytest.approx(float(one["tail"] / one["values"]))
        assert _title(overlay).startswith(f"α = {alpha:.2f} ± ")


def test_the_words_of_a_fit_are_no_wider_than_its_panel(small):
    many = small.copy(deep=True)
    many["tail"][:], many["values"][:] = 123_456, 1_605_632
    for overlay in spectral_figures.spectral_distributions(many, "conv1").values():
        fit, tail, *_ = _title(overlay).splitlines()
        assert fit.startswith("α = ")
        assert tail.startswith("tail 123,456 of 1,605,632")
        assert max(text_width(fit, 12), text_width(tail, 12)) < 348


def test_a_refused_fit_leaves_the_spectrum_and_says_why(small):
    overlay = spectral_figures.spectral_distributions(small, "linear")["toeplitz"]
    assert _parts(overlay, "Bars")
    assert not _parts(overlay, "Xmin")
    assert not _parts(overlay, "Power law")
    assert _title(overlay) == "no power law: fewer than 4 distinct positive values"


def test_few_eigenvalues_get_wide_bars_and_none_is_lost(small):
    one = small.sel(layer="conv1", matrization="unfolded")
    bars = spectral_figures.histogram(one)
    assert len(bars) <= 12
    assert bars.share.sum() == pytest.approx(float(one["density"].sum()))


def test_eigenvalues_far_below_the_greatest_are_told_of():
    shapes = {"a": (16, 3, 3, 3, 4)}
    far = capacity(shapes).sel(layer="a", matrization="unfolded").copy(deep=True)
    far["edge"][:] = np.geomspace(1e-20, 10, far.sizes["edge_index"])
    far["density"][:] = 0
    far["density"][[0, -1]] = np.array([0.25, 0.75])
    bars = spectral_figures.histogram(far)
    assert bars.share.tolist() == [0.75]
    assert bars.left_out == 0.25
    capacities = far.expand_dims(matrization=["unfolded"], layer=["a"])
    panel = spectral_figures.spectral_distributions(capacities, "a")["unfolded"]
    assert _title(panel).endswith("25.0% of λ lie below the figure")
    hv.renderer("bokeh").get_plot(panel)
    hv.renderer("bokeh").get_plot(spectral_panels.layer_spectra(capacities))


def test_small_panels_show_every_layer_with_its_exponent(small):
    overlay = spectral_panels.layer_spectra(small)
    assert _title(overlay) == ""
    assert _parts(overlay, "Layers")[0].dimension_values(2).tolist() == list(small["layer"].values)
    exponents = _parts(overlay, "Exponents")[0].dimension_values(2)
    alpha = small["alpha"].sel(matrization="unfolded").to_numpy()
    few = small["independent"].sel(matrization="unfolded").to_numpy() < 20
    assert few.any()
    told = [
        f"α {a:.2f}{', few' * bool(one)}{', over-trained' * (a < 2)}{', under-trained' * (a > 6)}"
        for a, one in zip(alpha.tolist(), few, strict=True)
    ]
    assert exponents.tolist() == told
    assert len(_parts(overlay, "Xmin")[0]) == len(alpha)


def test_equal_exponents_have_equal_slopes_in_small_panels(small):
    laws = _parts(spectral_panels.layer_spectra(small), "Power law")[0].array().astype(float)
    slopes = (laws[:, 3] - laws[:, 1]) / (laws[:, 2] - laws[:, 0])
    alpha = small["alpha"].sel(matrization="unfolded").to_numpy()
    np.testing.assert_allclose(slopes / slopes[0], alpha / alpha[0])


def test_many_layers_are_thinned_and_the_figure_says_so(monkeypatch, small):
    monkeypatch.setattr(spectral_panels, "_LAYERS_SHOWN", 3)
    overlay = spectral_panels.layer_spectra(small)
    shown = _parts(overlay, "Layers")[0].dimension_values(2).tolist()
    assert (shown[0], len(shown), shown[-1]) == ("conv1", 3, "linear")
    assert "Shown: 3 of 8 layers" in _title(overlay)


def test_a_model_without_spectra_is_refused(small):
    none = small.assign(density=small["density"] * np.nan)
    assert spectral_figures.spectral_distributions(none, "conv1") == {}
    with pytest.raises(ValueError, match="no layer has a spectrum"):
        spectral_panels.layer_spectra(none)


def test_rows_of_figure_3b_hold_counts_exponents_and_reasons(small):
    rows = {row.layer: row for row in tables.layer_rows(small)}
    first = small.sel(layer="conv1")
    for m, fit in rows["conv1"].fits.items():
        one = first.sel(matrization=m)
        assert fit.count == f"{int(one['values']):,}"
        assert fit.alpha == f"{float(one['alpha']):.2f} ± {float(one['sigma']):.2f}"
        term = float(one["alpha"]) * np.log(float(one["lambda_max"]))
        assert float(fit.term) == pytest.approx(term, abs=0.005)
    assert rows["conv1"].refusals == ""
    assert rows["conv1"].customary["matrix_rank"] == "16"
    norm = float(rows["conv1"].customary["log_norm"])
    assert norm == pytest.approx(float(first["log_norm"].sel(matrization="unfolded")), rel=1e-3)
    one = first.sel(matrization="unfolded")
    error = float(one["sigma"]) * abs(np.log10(float(one["lambda_max"])))
    told = f"{float(one['weighted_alpha']):.2f} ± {error:.2f}".replace("-", "−")
    assert rows["conv1"].customary["weighted_alpha"] == told
    refused = rows["linear"].fits["toeplitz"]
    assert (refused.alpha, refused.D, refused.tail, refused.term) == ("—",) * 4
    assert rows["linear"].refusals == "W̄₂: fewer than 4 distinct positive values"


@pytest.mark.parametrize(
    ("number", "written"),
    [(64, "64"), (16_384, "16,384"), (999_999, "999,999"), (3_211_264, "3.21e6")],
)
def test_millions_of_singular_values_are_rounded(number, written):
    assert tables.count(number) == written


def test_failed_models_come_last_with_their_reason(three):
    rows = tables.model_rows(three.zoo, three.capacity)
    assert [bool(row.error) for row in rows] == [False] * 11 + [True]
    assert rows[-1].error == "the weights do not fit the network"
    assert set(rows[-1].total.values()) == {"—"}
    first = three.zoo.sel(model=rows[0].model, matrization="unfolded")
    for name, told in (("alpha_hat", rows[0].total), ("alpha_hat_mean", rows[0].mean)):
        value, error = float(first[name]), float(first[f"{name}_error"])
        assert told["unfolded"] == f"{value:.2f} ± {error:.2f}"


def test_what_makes_a_fit_hard_to_trust_is_told_of_layers_and_models(small):
    one = small.sel(layer="conv1", matrization="unfolded").assign(
        alpha=3.5, independent=19, unstable=True, rival_alpha=28.63, rival_tail=2092, lambda_max=0.5
    )
    assert tables.flags(one) == {
        "few": "19 eigenvalues",
        "unstable": "α is 28.63 on the 2,092 greatest eigenvalues",
        "λmax < 1": "ln λmax = −0.69",
    }
    assert set(tables.flags(one)) <= set(tables.DEFINITIONS)
    assert tables.flags(one.assign(independent=20, unstable=False, lambda_max=1.0)) == {}
    assert tables.flags(one.assign(alpha=np.nan)) == {}
    model = xr.Dataset(
        {
            "few_tails": ("matrization", [19, 0]),
            "unstable_tails": ("matrization", [0, 0]),
            "below_one": ("matrization", [1, 0]),
        },
        coords={"matrization": ["unfolded", "channels"]},
    )
    told = "W̄₁: 19 of 20 tails have fewer than 20 eigenvalues, λmax is below 1 in 1 of 20 layers"
    assert tables.cautions(model, 20) == told
    assert tables.cautions(model.isel(matrization=[1]), 20) == ""


@pytest.mark.parametrize(
    ("alpha", "flag", "why"),
    [
        (1.999, "over-trained", "α = 2.00 ± 0.10, below 2"),
        (2.0, None, None),
        (6.0, None, None),
        (6.25, "under-trained", "α = 6.25 ± 0.10, above 6"),
    ],
)
def test_an_exponent_outside_the_customary_bounds_is_flagged(small, alpha, flag, why):
    one = small.sel(layer="conv1", matrization="slices")
    one = one.assign(alpha=alpha, sigma=0.1, independent=400, unstable=False, lambda_max=2.0)
    assert tables.flags(one) == ({} if flag is None else {flag: why})
    assert set(tables.flags(one)) <= set(tables.DEFINITIONS)


def test_bars_are_one_standard_error_of_alpha_hat(three):
    overlay = capacity_figures.alpha_hat_figure(three.zoo, "slices")
    ends = _parts(overlay, "Errors")[0].array().astype(float)
    shown = three.zoo.sel(matrization="slices").dropna("model", subset=["alpha_hat"])
    np.testing.assert_allclose((ends[:, 2] - ends[:, 0]) / 2, shown["alpha_hat_error"])
    np.testing.assert_allclose(ends[:, 2] + ends[:, 0], 2 * shown["alpha_hat"])
