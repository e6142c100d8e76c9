from pathlib import Path

import pytest

from ddp_tasks.queries.layer_names import matching_layers
from schemas.parameters import RunError

KNOWN, STORE = ["conv1", "conv2", "fc1", "head[0]"], Path("store.zarr")


def test_layers_are_chosen_by_name_and_glob():
    assert matching_layers(KNOWN, ["*"], STORE) == KNOWN
    assert matching_layers(KNOWN, ["fc*", "conv1"], STORE) == ["conv1", "fc1"]
    # A name holds what a glob gives a meaning to.
    assert matching_layers(KNOWN, ["head[0]"], STORE) == ["head[0]"]
    with pytest.raises(RunError, match=r"'fc9' matches no layer of store.zarr.*layers: conv1, con"):
        matching_layers(KNOWN, ["fc9"], STORE)
