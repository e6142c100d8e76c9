import holoviews as hv
import numpy as np
import pytest
import torch
from torch import nn

from ddp_tasks.figures import map_grids
from ddp_tasks.figures.step_figures import circle_figure, step_figures
from ddp_tasks.signals.layer_steps import layer_steps, project_circle
from ddp_tasks.weights.tensor_svd import TensorSVD, decompose
from ddp_tasks.weights.unfolding import unfold_weight


def _figures(module, X):
    svd = decompose(unfold_weight(module.weight))
    steps = layer_steps(module, X, svd)
    return svd, steps, {figure.key: figure for figure in step_figures(steps, svd)}


@pytest.fixture(scope="module")
def conv():
    torch.manual_seed(0)
    return _figures(nn.Conv2d(2, 40, 3).requires_grad_(False), torch.randn(1, 2, 8, 9))


def _parts(figure, kind):
    return [part for part in figure.element if isinstance(part, kind)]


def test_the_arrays_are_those_of_the_figure_in_its_order(conv):
    formulas = [figure.formula for figure in conv[2].values()]
    assert formulas == [
        *("X", "Ψ(X)", "VᵀΨ(X)", "SVᵀΨ(X)", "Ȳ = USVᵀΨ(X)", "B", "ReLU(Ȳ + B)"),
        "UᵀReLU(Ȳ + B)",
    ]
    assert conv[2]["X"].matrix == "2 channels of 8 × 9"
    assert conv[2]["signal"].matrix == "18 × 42, each row a map of 6 × 7"
    assert conv[2]["B"].matrix == "40 × 1, one number a row"


def test_the_maps_of_an_image_are_the_rows_of_the_array(conv):
    _, steps, figures = conv
    (image,) = _parts(figures["signal"], hv.Image)
    drawn = image.dimension_values("value", flat=False)[::-1]
    kept = drawn[np.isfinite(drawn)]
    # A map of 6 × 7 repeats its entries twice, down and across, to fill 12.
    assert len(kept) == 18 * 6 * 7 * 4
    expected = np.sort(np.tile(steps.signal.numpy().ravel(), 4))
    np.testing.assert_allclose(np.sort(kept), expected, rtol=1e-6)
    first = drawn[:, :14]
    first = first[np.isfinite(first).all(axis=1)][:12]
    np.testing.assert_allclose(first[::2, ::2], steps.signal[0], rtol=1e-6)


def test_each_array_has_one_scale_symmetric_about_zero(conv):
    _, steps, figures = conv
    for figure in figures.values():
        (image,) = _parts(figure, hv.Image)
        options = image.opts.get("plot").kwargs | image.opts.get("style").kwargs
        assert options["clim"] == (-figure.limit, figure.limit)
        assert figure.limit >= np.nanmax(np.abs(image.dimension_values("value")))
        assert options["cmap"][len(options["cmap"]) // 2] == "#ffffff"
    assert figures["signal"].limit == pytest.approx(float(steps.signal.abs().max()))


def test_singular_values_stand_above_the_maps_of_the_signals_alone(conv):
    svd, _, figures = conv
    (labels,) = _parts(figures["signal"], hv.Labels)
    assert labels.dimension_values("text").tolist() == [f"{s:.3g}" for s in svd.S.tolist()]
    (frames,) = _parts(figures["signal"], hv.Rectangles)
    tops, texts = frames.dimension_values("y1"), labels.dimension_values(1)
    assert (texts > tops).all()
    assert not [k for k, f in figures.items() if k != "signal" and _parts(f, hv.Labels)]
    assert frames.dimension_values("name").tolist() == [f"v{i}" for i in range(18)]


def test_what_is_left_out_is_stated(conv):
    _, steps, figures = conv
    assert figures["signal"].shown == ""
    assert figures["Y"].shown == "Shown: 36 of 40 channels, those of the greatest energy in Ȳ."
    (frames,) = _parts(figures["Y"], hv.Rectangles)
    energy = steps.Y.square().sum(dim=(1, 2))
    kept = sorted(energy.topk(36).indices.tolist())
    assert frames.dimension_values("name").tolist() == [f"channel {c}" for c in kept]
    # The bias and the activation show the same channels, so that they can be compared.
    for key in ("B", "activation"):
        (other,) = _parts(figures[key], hv.Rectangles)
        assert other.dimension_values("name").tolist() == frames.dimension_values("name").tolist()


def test_rows_of_receptive_fields_are_named_by_channel_and_place(conv):
    (frames,) = _parts(conv[2]["Psi"], hv.Rectangles)
    names = frames.dimension_values("name").tolist()
    assert names[0] == "channel 0, row 0, column 0"
    assert names[10] == "channel 1, row 0, column 1"


def test_a_fully_connected_layer_is_drawn_as_cells():
    torch.manual_seed(0)
    module = nn.Linear(1100, 70, bias=False)
    _, steps, figures = _figures(module, torch.randn(1, 1100))
    assert "B" not in figures
    assert figures["activation"].formula == "ReLU(Ȳ)"
    assert figures["X"].shown.startswith("Shown: 1,024 of 1,100 input channels")
    assert figures["signal"].shown == (
        "Shown: 64 of 70 rows, those of the greatest singular values."
    )
    assert figures["Y"].shown == ""
    (frames,) = _parts(figures["projection"], hv.Rectangles)
    assert len(frames) == 64
    assert frames.dimension_values("mean")[3] == f"{float(steps.projection[3]):.3g}"
    # Eight columns with numbers above and without, so that one can be held against the other.
    for key in ("projection", "signal", "activation_projection"):
        (frames,) = _parts(figures[key], hv.Rectangles)
        assert len(set(frames.dimension_values("x0"))) == 8


def test_sequences_are_drawn_as_strips():
    torch.manual_seed(0)
    _, _, figures = _figures(nn.Linear(20, 5), torch.randn(1, 300, 20))
    assert figures["X"].shown == (
        "Shown: 16 of 20 input channels, those of the greatest energy. Averaged down to 1 × 256."
    )
    (frames,) = _parts(figures["Y"], hv.Rectangles)
    assert len(set(frames.dimension_values("x0"))) == 1
    assert len(set(frames.dimension_values("y0"))) == 5


def test_large_maps_are_averaged_down():
    maps = torch.arange(2.0 * 128 * 128, dtype=torch.float64).reshape(2, 128, 128)
    small = map_grids.averaged_down(maps)
    assert small.shape == (2, 64, 64)
    assert float(small[0, 0, 0]) == float(maps[0, :2, :2].mean())


def test_an_arbitrary_singular_vector_carries_its_mark():
    eye = torch.eye(2, dtype=torch.float64)
    svd = TensorSVD(eye, torch.tensor([1.0, 1.0]).double(), eye, torch.zeros(2, dtype=torch.int64))
    module = nn.Linear(2, 2)
    figures = step_figures(layer_steps(module, torch.ones(1, 2), svd), svd)
    (labels,) = [p for f in figures for p in f.element if isinstance(p, hv.Labels)]
    assert labels.dimension_values("text").tolist() == ["1*", "1*"]


def test_an_array_of_zeros_has_a_scale_too():
    module = nn.Linear(2, 2)
    svd = decompose(unfold_weight(module.weight))
    figures = step_figures(layer_steps(module, torch.zeros(1, 2), svd), svd)
    assert figures[0].limit == 1


def test_the_circle_and_its_projections_share_equal_axes():
    seen = project_circle(decompose(torch.diag(torch.tensor([3.0, 2, 1]))), (0, 2))
    overlay = circle_figure(seen)
    curves = {part.label: part for part in overlay if isinstance(part, hv.Curve) and part.label}
    assert set(curves) == {
        "unit circle",
        "its image on channels 0, 2",
        "its image on u0, u2",
    }
    x = curves["its image on u0, u2"].dimension_values(0)
    assert (x.min(), x.max()) == pytest.approx((-3, 3))
    options = overlay.opts.get("plot").kwargs
    assert options["xlim"] == options["ylim"]
    assert options["frame_width"] == options["frame_height"]
    assert options["xlim"][1] > 3
