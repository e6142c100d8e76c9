"""What depends on the images that were taken is drawn so, and wide hierarchies are folded."""

import holoviews as hv
import numpy as np
import pytest
from findings import findings, nested, with_own_classes

from ddp_tasks.figures.hierarchy_figures import hierarchy_figure, width_of
from ddp_tasks.figures.hypergraph_figures import hypergraph_figure, incidence_matrix
from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.figures.uncertainty import edge_shares, least_shares
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.weights.layer_vectors import LayerVectors


@pytest.fixture(scope="module")
def made():
    return findings(nested())


@pytest.fixture(scope="module")
def vectors(made):
    return LayerVectors.of(made.layers.sel(layer="layer0"))


@pytest.fixture
def stability(made):
    """v4 holds for its class in 60 % of the resamples, the edges to it in 40 %."""
    stored = made.stability["layer0"].copy(deep=True)
    stored["incidence"].loc[{"singular_vector": 4}] = 0.6
    alone = [[m.vector for m in of] for of in members_of(made.hierarchies["layer0"])].index([4])
    stored["inclusion"].values[stored["specific"].to_numpy() == alone] = 0.4
    return stored


def _group(figure, name):
    return [one for one in figure if one.group == name]


def test_unsure_edges_are_dashed_and_say_their_share(made, vectors, stability):
    hierarchy, thumbnails = made.hierarchies["layer0"], Thumbnails(made.pictures)
    sure = hierarchy_figure(hierarchy, vectors, thumbnails)
    assert not _group(sure, "Unsure covers")
    assert not _group(sure, "Shares")
    figure = hierarchy_figure(hierarchy, vectors, thumbnails, stability=stability)
    (dashed,) = _group(figure, "Unsure covers")
    (solid,) = _group(figure, "Covers")
    shares = edge_shares(stability)
    unsure = {edge for edge, share in shares.items() if share < 0.95}
    assert {(one["above"], one["below"]) for one in dashed.data} == unsure
    assert {(one["above"], one["below"]) for one in solid.data} == set(shares) - unsure
    assert hv.Store.lookup_options("bokeh", dashed, "style").kwargs["line_dash"] == "dashed"
    (texts,) = _group(figure, "Shares")
    assert list(texts.dimension_values("share")) == ["40%"] * len(unsure)


def test_unsure_incidences_are_dashed_circles_and_rings(made, vectors, stability):
    hierarchy = made.hierarchies["layer0"]
    least = least_shares(hierarchy, stability)
    assert (least[hierarchy["target_classes"].to_numpy()] < 0.95).sum() == 1
    figure = hypergraph_figure(hierarchy, vectors, stability)
    (unsure,) = _group(figure, "Unsure circles")
    assert list(unsure.dimension_values("resamples")) == ["60%"]
    (sure,) = _group(figure, "Circles")
    assert len(sure) + len(unsure) == hierarchy.sizes["equivalence_class"]
    (dots,) = _group(incidence_matrix(hierarchy, vectors, stability), "Inside")
    rings = dots.dimension_values("inner") == "#ffffff"
    assert list(dots.dimension_values("resamples")[rings]) == ["60%"]


def test_without_resamples_nothing_is_said_to_be_unsure(made):
    stability = made.stability["layer0"].copy(deep=True)
    stability["incidence"][:] = np.nan
    stability["inclusion"][:] = np.nan
    assert least_shares(made.hierarchies["layer0"], stability) is None
    assert edge_shares(stability) == edge_shares(None) == {}


def test_a_wide_hierarchy_is_folded_to_a_width():
    many = with_own_classes(12, 24)
    vectors = LayerVectors.of(many.layers.sel(layer="layer0"))
    hierarchy, thumbnails = many.hierarchies["layer0"], Thumbnails(many.pictures)
    whole = hierarchy_figure(hierarchy, vectors, thumbnails)
    folded = hierarchy_figure(hierarchy, vectors, thumbnails, widest=800)
    assert width_of(whole) > 800 >= width_of(folded)
    boxes = [len(_group(figure, "Boxes")[0]) for figure in (whole, folded)]
    assert boxes[0] > boxes[1] >= 1
