"""A layer's table moved to another p, as a slider does."""

import dataclasses

import numpy as np
import pytest

from ddp_tasks.explorer.opened_runs import open_runs


@pytest.mark.parametrize("known", [False, True])
def test_a_table_moved_to_another_p_is_the_one_that_is_read_there(finished, known):
    (run,) = open_runs([finished.report.parent])
    for layer in run.layers:
        levels = run.levels(layer)
        table, read = levels.at(0.7, 80), levels.at(0.7, 40)
        if known:
            table.most_discriminating()
            assert table.eta_squared.size
        moved = table.at_percentage(40)
        for field in dataclasses.fields(read):
            np.testing.assert_array_equal(getattr(moved, field.name), getattr(read, field.name))
        assert moved.significant.sum() > table.significant.sum()
        np.testing.assert_array_equal(moved.eta_squared, read.eta_squared)
        np.testing.assert_array_equal(moved.most_discriminating(), read.most_discriminating())
