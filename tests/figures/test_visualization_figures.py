"""What is drawn of singular vectors, held against the groups that it is drawn from."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import visualization_groups as made
import xarray as xr
from findings import findings, nested
from PIL import Image

from ddp_tasks.figures import optimised_pictures, picture_marks, visualization_figures
from ddp_tasks.figures.signal_overlays import limit_of, overlay
from ddp_tasks.figures.style import diverging_colours
from ddp_tasks.figures.thumbnails import NumberedThumbnails, Thumbnails
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector


@pytest.fixture(scope="module")
def small():
    return findings(nested())


def _stored(small, *, failed=(), objectives=("mean",), visualized=True, projected=True):
    layer = LayerVectors.of(small.layers.sel(layer="layer0"))
    strongest = made.exemplars(small.images.ids, ["layer0"], layer.rank).sel(layer="layer0")
    targets = [((1,), "positive"), ((1,), "negative"), ((0, 2), "positive")]
    stored = made.visualizations(
        "layer0", layer.rank, targets, failed=failed, objectives=objectives
    )
    return visualization_figures.LayerPictures(
        layer,
        strongest,
        Thumbnails(small.pictures),
        {
            image: small.images.target_classes[target]
            for image, target in zip(small.images.ids, small.images.target, strict=True)
        },
        made.projections(strongest) if projected else None,
        optimised_pictures.optimised_pictures(stored if visualized else None),
    )


def _rows(stored, vectors=(1, 0)):
    return visualization_figures.vector_rows(stored, vectors)


def _group(overlay, group):
    (part,) = [element for element in overlay if element.group == group]
    return part.dframe()


def _texts(overlay):
    return [text for part in overlay if "text" in part.vdims for text in part["text"]]


def _pixels(uri):
    kind, _, encoded = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA"))


def test_a_row_shows_pictures_images_maps_and_patches_of_both_directions(small):
    stored = _stored(small)
    drawn = _rows(stored)
    optimised = _group(drawn, "Optimised")
    assert optimised["optimised for"].tolist() == [
        "v1 positive mean fourier",
        "v1 negative mean fourier",
    ]
    # The positive side is at the left, the negative one at the right.
    assert (optimised.x0 < 648).tolist() == [True, False]
    strongest = _group(drawn, "Strongest")
    expected = stored.exemplars.sel(singular_vector=[1, 0])["image"].to_numpy()[:, :, :4]
    assert sorted(strongest["image"]) == sorted(expected.ravel())
    assert len(_group(drawn, "Projections")) == 2 * 2 * 3
    assert len(_group(drawn, "Patches")) == 2 * 2 * 6
    # Maps lie exactly over the images below them.
    below, above = _group(drawn, "Under"), _group(drawn, "Projections")
    np.testing.assert_array_equal(below[["x0", "y0"]], above[["x0", "y0"]])
    texts = _texts(drawn)
    assert "excess 0.50, unseen 0.25" in texts
    assert "path 0.75, exemplars 0.85" in texts
    assert "2 seeds, ±0.12" in texts
    assert texts.count("no optimised image") == 2  # both sides of v0
    assert texts.count("strongest patches of 1,234 images") == 4


def test_nothing_lies_outside_the_figure_or_over_something_else(small):
    drawn = _rows(_stored(small, objectives=("mean", "density")))
    size = {"x": 2 * 636 + 20, "y": drawn.opts.get("plot").kwargs["frame_height"]}
    places = [
        box[1:5]
        for group in ("Optimised", "Strongest", "Projections", "Patches")
        for box in _group(drawn, group).itertuples()
    ]
    for number, (x0, y0, x1, y1) in enumerate(places):
        assert 0 <= x0 < x1 <= size["x"]
        assert 0 <= y0 < y1 <= size["y"]
        for left, low, right, high in places[number + 1 :]:
            assert right <= x0 or x1 <= left or high <= y0 or y1 <= low


def test_all_maps_of_a_vector_have_one_scale(small):
    stored = _stored(small)
    maps = stored.projections["map"].sel(singular_vector=1).to_numpy()
    assert f"colours to ±{np.abs(maps).max():.3g}" in " ".join(_texts(_rows(stored)))
    drawn = _group(_rows(stored, [1]), "Projections")
    assert len(drawn) == 6
    uri = overlay(maps[0, 0], float(np.abs(maps).max())).uri
    assert drawn["picture"][0] == uri


def test_an_overlay_is_white_at_zero_and_reddest_and_bluest_at_its_ends():
    values = np.array([[-2.0, 0.0], [2.0, 5.0]], dtype=np.float32)
    pixels = _pixels(overlay(values, 2.0).uri)
    ends = diverging_colours(63)
    coloured = ["#{:02x}{:02x}{:02x}".format(*p[:3]) for p in pixels.reshape(-1, 4)]
    assert coloured == [ends[0], "#ffffff", ends[-1], ends[-1]]
    alpha = pixels[..., 3]
    # The image is seen everywhere, least where the signal is strongest.
    assert alpha[0, 1] < 128 < alpha[0, 0] < 255
    assert _pixels(overlay(values, 2.0, whole=True).uri)[..., 3].min() == 255
    assert _pixels(overlay(np.full((2, 2), np.nan, np.float32), 1.0).uri)[..., 3].max() == 0


def test_limits_are_common_and_never_zero():
    assert limit_of(np.array([[1.0, -3.0]]), np.array([[np.nan, 2.0]])) == 3
    assert limit_of(np.zeros((2, 2))) == 1
    assert limit_of() == 1


def test_a_failed_picture_is_marked_and_comes_last(small):
    drawn = _rows(_stored(small, failed=[0], objectives=("mean", "density")), [1])
    optimised = _group(drawn, "Optimised")
    assert optimised["optimised for"].tolist()[:2] == [
        "v1 positive density fourier",
        "v1 positive mean fourier",
    ]
    frames = _group(drawn, "Failed")
    assert len(frames) == 1
    assert frames.frame_x0[0] == optimised.x0[1]
    texts = _texts(drawn)
    assert "FAILED" in texts
    assert "its objective became" in texts
    assert "NaN at step 12" in texts
    long = _stored(small, failed=[0]).optimised[-1]
    marks = picture_marks.Marks()
    marks.optimised(replace(long, failed="a reason of many words " * 9), 0.0, 112.0)
    assert len(marks.texts["Small"]) == 3
    assert marks.texts["Small"][-1][2].endswith(" …")


def test_without_pictures_and_maps_the_natural_images_stand_alone(small):
    drawn = _rows(_stored(small, visualized=False, projected=False))
    groups = {element.group for element in drawn}
    assert "Optimised" not in groups
    assert len(_group(drawn, "Strongest")) == 2 * 2 * 5


def test_a_layer_of_one_position_has_no_maps(small):
    stored = _stored(small)
    flat = stored.projections.isel(y=[0], x=[0])
    whole = replace(stored, projections=flat)
    assert "Projections" not in {element.group for element in _rows(whole)}


def test_representatives_come_first_then_others_by_eta_squared(small):
    levels = small.run.significance.levels("layer0")
    table = LayerTable.of(small.significance.sel(layer="layer0"), *levels, ("positive",))
    hierarchy = small.hierarchies["layer0"]
    members = [
        set(np.flatnonzero(row))
        for row in hierarchy["singular_vectors"].any("direction").to_numpy()
    ]
    found = visualization_figures.most_telling(table, hierarchy, 100)
    assert set(found) == set().union(*members)
    assert set(found[: len(members)]) == {min(of) for of in members}
    eta = table.eta_squared
    for part in (found[: len(members)], found[len(members) :]):
        assert sorted(part, key=lambda v: -eta[v]) == part
    empty = hierarchy.isel(equivalence_class=[])
    assert visualization_figures.most_telling(table, empty, 3) == [0, 1, 2]


def test_a_report_of_many_layers_shows_fewer_vectors_of_each():
    shown = [visualization_figures.vectors_shown(layers) for layers in (1, 4, 18, 56, 1000)]
    assert shown == [6, 6, 4, 2, 2]


def test_a_contact_sheet_has_every_picture_once(small):
    stored = _stored(small, failed=[2], objectives=("mean", "density"))
    drawn = visualization_figures.contact_sheet(stored.layer, stored.optimised)
    assert len(_group(drawn, "Optimised")) == 6
    assert len(_group(drawn, "Failed")) == 1
    titles = _group(drawn, "Titles")["text"].tolist()
    assert titles.count("v1⁻*") == 2
    assert titles.count("v0⁺*, v2⁺") == 2
    assert "least vector 2.50" not in _texts(drawn)[:3]
    with pytest.raises(ValueError, match="layer0 has no optimised images"):
        visualization_figures.contact_sheet(stored.layer, [])


def test_pictures_are_kept_once_in_a_page_under_names_of_their_own(small):
    numbered = NumberedThumbnails(Thumbnails(small.pictures))
    stored = made.visualizations("layer0", 5, [((1,), "positive"), ((2,), "negative")])
    found = optimised_pictures.optimised_pictures(stored, numbered.numbered)
    assert numbered.used == {}  # only what is drawn is kept
    assert found[0].thumbnail.uri == "v1 positive mean fourier"
    assert list(numbered.used) == ["v1 positive mean fourier"]
    assert found[0].thumbnail is found[0].thumbnail
    assert numbered.used["v1 positive mean fourier"].startswith("data:image/webp")


def test_pictures_of_other_sizes_and_channels_keep_their_shape():
    stored = made.visualizations("l", 3, [((0,), "positive")], side=224, channels=3)
    (one,) = optimised_pictures.optimised_pictures(stored)
    assert (one.thumbnail.width, one.thumbnail.height) == (112, 112)
    wide = stored.isel(y=slice(0, 20), x=slice(0, 30))
    (one,) = optimised_pictures.optimised_pictures(wide)
    assert one.thumbnail.width / one.thumbnail.height == 1.5
    assert optimised_pictures.of_target([one], [SignedVector(0, 1)]) == [one]
    assert optimised_pictures.of_target([one], [SignedVector(0, -1)]) == []
    assert isinstance(wide, xr.Dataset)
