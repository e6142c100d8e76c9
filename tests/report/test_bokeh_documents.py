"""What a page draws of a figure is what HoloViews itself would draw."""

import re

import holoviews as hv
import numpy as np
import pytest
import torch
from bokeh.core.property.vectorization import Field, Value
from bokeh.document import Document
from bokeh.models import Axis, ColorBar, GlyphRenderer, HoverTool, ImageURL, Legend, Span
from capacity_findings import families
from findings import findings, nested, with_own_classes

from ddp_tasks.figures import capacity_figures, spectral_figures, spectral_panels
from ddp_tasks.figures.step_figures import circle_figure, step_figures
from ddp_tasks.figures.style import plain
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.report import layer_section
from ddp_tasks.report.bokeh_documents import document
from ddp_tasks.signals.layer_steps import layer_steps, project_circle
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import unfold_weight

pytestmark = pytest.mark.slow

#: HoloViews draws polygons with a glyph that may have holes.
_ALIKE = {"MultiPolygons": "Patches"}
_SIZES = ("frame_width", "frame_height", "width", "height", "toolbar_location")


def _of_layers():
    for made in (findings(nested()), with_own_classes(14, 14), with_own_classes(4, 130)):
        figures = layer_section.layer_figures(made.of_layer("layer0"), Thumbnails(made.pictures))
        yield from figures.items()


def _of_capacity():
    found = families()
    yield "alpha hat", capacity_figures.alpha_hat_figure(found.zoo, "unfolded")
    of_model = next(iter(found.capacity.values()))
    first = str(of_model["layer"].to_numpy()[0])
    yield from spectral_figures.spectral_distributions(of_model, first).items()
    yield "panels", spectral_panels.layer_spectra(of_model)


def _of_steps():
    torch.manual_seed(0)
    module = torch.nn.Conv2d(2, 5, 3).requires_grad_(False)
    svd = decompose(unfold_weight(module.weight))
    steps = layer_steps(module, torch.randn(1, 2, 8, 9), svd)
    yield from ((figure.key, figure.element) for figure in step_figures(steps, svd))
    yield "circle", circle_figure(project_circle(svd, (0, 1)))


@pytest.fixture(scope="module")
def both():
    """Figures as a page has them, and as HoloViews draws them."""
    found = []
    for name, figure in (*_of_layers(), *_of_capacity(), *_of_steps()):
        drawn, root_id = document(figure, "a")
        (root,) = Document.from_json(drawn).roots
        assert root.id == root_id
        found.append((name, root, hv.renderer("bokeh").get_plot(figure).state))
    assert len(found) > 50
    return found


def _renderers(root):
    return [one for one in root.renderers if isinstance(one, GlyphRenderer)]


def _values(renderer, name):
    """A property of a glyph, or the column it names."""
    value = getattr(renderer.glyph, name)
    columns = renderer.data_source.data
    if isinstance(value, Field):
        return columns[value.field]
    if isinstance(value, str) and value in columns:
        return columns[value]
    return value.value if isinstance(value, Value) else value


def _flat(values):
    """Numbers of nested lists and arrays, one after another."""
    if isinstance(values, list | tuple | np.ndarray) and not isinstance(values, str):
        parts = [_flat(value) for value in values]
        return np.concatenate(parts) if parts else np.empty(0)
    return np.array([values])


def _same(ours, theirs, what):
    ours, theirs = _flat(ours), _flat(theirs)
    if len(theirs) == 1:
        # HoloViews writes a column that says one thing throughout as that thing.
        ours = np.unique(ours)
    assert len(ours) == len(theirs), what
    if theirs.dtype.kind in "OU":
        assert ours.tolist() == theirs.tolist(), what
    else:
        # Seven digits are written.
        np.testing.assert_allclose(
            ours.astype(float), theirs.astype(float), rtol=2e-6, atol=1e-9, err_msg=what
        )


def test_glyphs_have_the_same_places_and_looks(both):
    for name, ours, theirs in both:
        pairs = list(zip(_renderers(ours), _renderers(theirs), strict=True))
        assert pairs, name
        for one, other in pairs:
            kind = type(other.glyph).__name__
            assert type(one.glyph).__name__ == _ALIKE.get(kind, kind), name
            dataspecs = {*one.glyph.dataspecs(), "image"}
            for place in sorted(dataspecs & one.glyph.properties()):
                kind = place.partition("_")[0]
                unseen = kind in ("fill", "line") and np.all(_values(one, f"{kind}_alpha") == 0)
                if unseen or kind in ("hatch", "global"):
                    continue
                theirs_ = _values(other, place)
                if kind in ("xs", "ys") and type(one.glyph).__name__ == "Patches":
                    # HoloViews ends an outline where it begins, and Bokeh does so by itself.
                    theirs_ = [ring[:-1] for ((ring,),) in theirs_]
                _same(_values(one, place), theirs_, f"{name}: {place}")


def test_lines_across_frames_and_sizes_are_the_same(both):
    for _, ours, theirs in both:
        for one, other in zip(ours.select(Span), theirs.select(Span), strict=True):
            for what in ("location", "dimension", "line_color", "line_width", "line_dash"):
                assert getattr(one, what) == getattr(other, what)
        for size in _SIZES:
            assert getattr(ours, size) == getattr(theirs, size)
        assert ours.min_border == theirs.min_border_left
        assert ours.title.text == theirs.title.text
        assert ours.title.text_font_size == theirs.title.text_font_size
        for axis in ("x", "y"):
            one, other = (getattr(root, f"{axis}_range") for root in (ours, theirs))
            np.testing.assert_allclose((one.start, one.end), (other.start, other.end))
            scales = (type(getattr(root, f"{axis}_scale")) for root in (ours, theirs))
            assert len(set(scales)) == 1


def _axes(root):
    return {
        (side, type(axis)): axis
        for side in ("left", "right", "above", "below")
        for axis in getattr(root, side)
        if isinstance(axis, Axis) and axis.visible
    }


def test_axes_have_the_same_ticks_names_and_looks(both):
    for name, ours, theirs in both:
        one, other = _axes(ours), _axes(theirs)
        assert set(one) == set(other), name
        for key, axis in one.items():
            theirs_ = other[key]
            assert axis.axis_label == theirs_.axis_label
            assert axis.major_label_overrides == theirs_.major_label_overrides
            assert axis.major_label_orientation == theirs_.major_label_orientation
            if axis.major_label_overrides:
                assert list(axis.ticker.ticks) == list(theirs_.ticker.ticks)
            for looks in ("axis_line_color", "major_label_text_font_size", "axis_label_text_font"):
                assert getattr(axis, looks) == getattr(theirs_, looks)


def _hovering(root):
    told = {}
    for tool in root.select(HoverTool):
        # Bokeh takes a column's name with and without braces, and HoloViews renames columns.
        rows = [
            (words, re.sub(r"@\{([^}]+)\}", lambda found: "@" + found[1].replace(" ", "_"), text))
            for words, text in tool.tooltips
        ]
        told[tuple(rows)] = len(tool.renderers)
    return told


def test_hovering_tells_of_columns_that_are_there(both):
    for name, root, _ in both:
        for tool in root.select(HoverTool):
            columns = {key for one in tool.renderers for key in one.data_source.data}
            for _, text in tool.tooltips:
                named = re.findall(r"@\{([^}]+)\}|@(\w+)", text)
                assert {one or other for one, other in named} <= columns, name


def test_hovering_legends_and_colour_bars_tell_the_same(both):
    for name, ours, theirs in both:
        assert _hovering(ours) == _hovering(theirs), name
        legends = [
            [(item.label.value, len(item.renderers)) for item in legend.items]
            for root in (ours, theirs)
            for legend in root.select(Legend)
            if legend.items
        ]
        assert legends[: len(legends) // 2] == legends[len(legends) // 2 :], name
        bars = [root.select(ColorBar) for root in (ours, theirs)]
        for one, other in zip(*(list(b) for b in bars), strict=True):
            assert list(one.color_mapper.palette) == list(other.color_mapper.palette)
            assert (one.color_mapper.low, one.color_mapper.high) == (0, 1)
            assert (other.color_mapper.low, other.color_mapper.high) == (0, 1)
            assert list(one.ticker.ticks) == list(other.ticker.ticks)
            assert one.major_label_overrides == other.major_label_overrides


def test_columns_of_pictures_are_drawn(both):
    of_pictures = [root for name, root, _ in both if name == "hierarchy"]
    assert of_pictures
    for root in of_pictures:
        drawn = [one for one in _renderers(root) if isinstance(one.glyph, ImageURL)]
        assert drawn
        for one in drawn:
            assert all(uri.startswith("data:image/") for uri in one.data_source.data["picture"])


@pytest.mark.parametrize(
    ("element", "options", "said"),
    [
        (hv.HexTiles([(0, 0)]), {}, "HexTiles has no glyph"),
        (hv.Points([(0, 0)]).opts(jitter=1), {}, "options of Points that are not drawn: jitter"),
        (hv.Points([(0, 0)]).opts(hooks=[print]), {}, "hook <built-in function print>"),
        (hv.Points([(0, 0)]).opts(tools=["tap"]), {}, "tool 'tap' is not drawn"),
        (hv.Points([(0, 0)]), {"invert_xaxis": True}, "options of a figure.*: invert_xaxis"),
    ],
)
def test_what_is_not_drawn_is_refused(element, options, said):
    figure = hv.Overlay([element]).opts(**plain(9, 9, xlim=(0, 1), ylim=(0, 1)), **options)
    with pytest.raises(TypeError, match=said):
        document(figure, "a")
