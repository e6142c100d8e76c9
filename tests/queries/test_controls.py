import numpy as np
import pytest
from control_groups import controls

from ddp_tasks.queries.controls import (
    is_special,
    measures_there,
    open_controls,
    percentile_of,
    plain_sentence,
    standings,
)
from schemas.control_variables import MEASURES
from schemas.parameters import RunError


def test_layers_are_counted_beyond_either_end():
    found = standings(controls())
    assert [one.measure for one in found] == [m for m in MEASURES if m != "parted_groups"]
    for one in found:
        assert (one.layers, one.special, one.poor, one.median) == (3, 1, 1, 50)
        assert one.words == MEASURES[one.measure]
    assert {(one.special, one.poor) for one in standings(controls(), "percentile_variance")} == {
        (0, 2)
    }


def test_a_measure_that_no_layer_has_is_not_there():
    assert "parted_groups" not in measures_there(controls())
    assert len(measures_there(controls())) == len(MEASURES) - 1


def test_percentiles_are_looked_up():
    stored = controls()
    assert percentile_of(stored, "special", "nodes") == 100
    assert percentile_of(stored, "plain", "nodes") == 50
    assert np.isnan(percentile_of(stored, "rank one", "nodes"))
    assert [is_special(p) for p in (95.0, 94.9, np.nan)] == [True, False, False]
    with pytest.raises(KeyError):
        percentile_of(stored, "missing", "nodes")


def test_the_sentence_counts_what_stands_out_and_what_chance_gives():
    told = plain_sentence(controls())
    assert "Of 33 comparisons" in told
    assert "at or beyond the 95th percentile of random rotations in 11 (33%)" in told
    assert "at or below the 5th in 11 (33%)" in told
    assert "nothing special would be in about 5 %" in told
    alone = controls().sel(layer=["rank one"])
    assert plain_sentence(alone).startswith("There are no rotations")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a Zarr store"):
        open_controls(tmp_path)
