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
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector


@pytest.fixture(scope="module")
def small():
    return findings(nested())


def _stored(small, *, failed=(), objectives=("mean",)):
    """The layer, and its optimised images."""
    layer = LayerVectors.of(small.layers.sel(layer="layer0"))
    targets = [((1,), "positive"), ((1,), "negative"), ((0, 2), "positive")]
    stored = made.visualizations(
        "layer0", layer.rank, targets, failed=failed, objectives=objectives
    )
    return layer, optimised_pictures.optimised_pictures(stored)


def _group(overlay, group):
    (part,) = [element for element in overlay if element.group == group]
    return part.dframe()


def _texts(overlay):
    return [text for part in overlay if "text" in part.vdims for text in part["text"]]


def _pixels(uri):
    kind, _, encoded = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA"))


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
    layer, found = _stored(small, failed=[0], objectives=("mean", "density"))
    assert found[-1].key == "v1 positive mean fourier"
    drawn = visualization_figures.contact_sheet(layer, found)
    assert len(_group(drawn, "Failed")) == 1
    texts = _texts(drawn)
    assert "FAILED" in texts
    assert "its objective became" in texts
    assert "NaN at step 12" in texts
    long = _stored(small, failed=[0])[1][-1]
    marks = picture_marks.Marks()
    marks.optimised(replace(long, failed="a reason of many words " * 9), 0.0, 112.0)
    assert len(marks.texts["Small"]) == 3
    assert marks.texts["Small"][-1][2].endswith(" …")


def test_a_contact_sheet_has_every_picture_once(small):
    layer, found = _stored(small, failed=[2], objectives=("mean", "density"))
    drawn = visualization_figures.contact_sheet(layer, found)
    assert len(_group(drawn, "Optimised")) == 6
    assert len(_group(drawn, "Failed")) == 1
    titles = _group(drawn, "Titles")["text"].tolist()
    assert titles.count("v1⁻*") == 2
    assert titles.count("v0⁺*, v2⁺") == 2
    assert "least vector 2.50" not in _texts(drawn)[:3]
    with pytest.raises(ValueError, match="layer0 has no optimised images"):
        visualization_figures.contact_sheet(layer, [])


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
