"""Variances of signals over parts, beside numpy's over all of them."""

import numpy as np
from hypothesis import given
from strategies import cubes

from ddp_tasks.significance.signal_variances import signal_variances


@given(cubes(unread=True, unreached=True))
def test_variances_do_not_depend_on_the_parts(cube):
    for layer, rank in enumerate(cube.ranks):
        parts = [signals[:, layer, :rank] for signals, _ in cube.parts()]
        whole = cube.signals[:, layer, :rank].astype(np.float64)
        reached = whole[~np.isnan(whole[:, 0])]
        expected = reached.var(axis=0) if len(reached) else np.zeros(rank)
        np.testing.assert_allclose(signal_variances(parts, rank), expected, atol=1e-12)


def test_a_great_mean_takes_no_digits_away():
    signals = np.array([[1e6], [1e6 + 1], [1e6 + 2]], dtype=np.float32)
    assert signal_variances([signals[:1], signals[1:]], 1).tolist() == [2 / 3]
    assert signal_variances([], 2).tolist() == [0, 0]
