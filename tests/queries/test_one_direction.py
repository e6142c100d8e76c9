"""What one direction gives by itself, beside what a run of this direction alone would store."""

from functools import partial

import numpy as np
import pytest

from ddp_tasks.figures.uncertainty import edge_shares, least_shares
from ddp_tasks.queries.one_direction import LayerSignals, one_direction
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.significance.significance import of_part
from ddp_tasks.significance.stability import layer_stability
from ddp_tasks.store import cube, groups
from ddp_tasks.weights.signed_vectors import DIRECTIONS
from schemas.parameters import Levels

RESAMPLES = 40


@pytest.fixture(scope="module")
def run(finished):
    return open_significance(finished.store.parent)


def signals_of(run, layer, pictured):
    path, names = run.store, run.layers["layer"].to_numpy().tolist()
    images = groups.read(path, "signals")
    rank = int(run.layers["rank"].sel(layer=layer))
    return LayerSignals(
        parts=partial(cube.layer_parts, path, names.index(layer), rank),
        images=RecordedImages.of(images),
        choosing=run.significance["part"].to_numpy(),
        pictured=pictured,
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", ["conv2", "fc1"])
@pytest.mark.parametrize("kept", [1, 2], ids=["all pictures", "every second picture"])
def test_it_is_what_a_run_of_the_direction_alone_stores(run, layer, direction, kept):
    levels, level = run.any_level(layer), Levels(0.8, 60)
    count = run.significance.sizes["image"]
    pictured = (np.arange(count) % kept == 0).astype(np.int8)
    signals = signals_of(run, layer, pictured)
    alone = levels.hierarchy(levels.at(*level, (direction,)), None, places=1)

    def judged(hierarchy):
        return layer_stability(
            of_part(signals.parts, signals.choosing, 0),
            run.significance.sel(layer=layer),
            hierarchy,
            level,
            resamples=RESAMPLES,
            sample_sizes=[],
        )

    both = levels.at(*level, DIRECTIONS)
    stability = judged(levels.hierarchy(both))
    found = one_direction(
        both, levels.vectors, signals, direction, stability=stability, resamples=RESAMPLES
    )
    own, other = (
        found.hierarchy["singular_vectors"].sel(direction=one)
        for one in sorted(DIRECTIONS, key=direction.__ne__)
    )
    np.testing.assert_array_equal(own, alone["singular_vectors"].sel(direction=direction))
    assert own.any()
    assert not other.any()
    for name in ("target_classes", "covers", "level"):
        np.testing.assert_array_equal(found.hierarchy[name], alone[name])
    expected = judged(alone)
    assert edge_shares(found.stability) == edge_shares(expected)
    np.testing.assert_array_equal(
        least_shares(found.hierarchy, found.stability), least_shares(alone, expected)
    )
    shown = set(found.hierarchy["exemplar"].to_numpy().ravel()) - {""}
    assert shown <= set(np.array(signals.images.ids)[pictured == 1])
    if kept == 1:
        np.testing.assert_array_equal(found.hierarchy["exemplar"], alone["exemplar"])


def test_without_resamples_there_is_no_share(run):
    levels = run.any_level("fc1")
    signals = signals_of(run, "fc1", np.ones(run.significance.sizes["image"], dtype=np.int8))
    table = levels.at(0.8, 60, DIRECTIONS)
    found = one_direction(table, levels.vectors, signals, "positive", stability=None, resamples=0)
    assert found.stability is None
