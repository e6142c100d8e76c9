import numpy as np
import xarray as xr

from ddp_tasks.queries.confused_classes import most_confused


def _signals(target, predicted):
    return xr.Dataset(
        {"target": ("image", np.array(target)), "predicted": ("image", np.array(predicted))},
        coords={"target_class": np.array(["cat", "dog", "ship"], dtype=object)},
    )


def test_mistakes_either_way_count_for_the_pair():
    # cat as dog once and dog as cat twice; ship as cat twice; unreadable images count nowhere.
    signals = _signals([0, 1, 1, 2, 2, -1, 0, -1], [1, 0, 0, 0, 0, 1, -1, 2])
    assert most_confused(signals) == ("cat", "dog")


def test_a_network_without_mistakes_confuses_nothing():
    assert most_confused(_signals([0, 1, 2], [0, 1, 2])) is None
