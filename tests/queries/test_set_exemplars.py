import numpy as np
import pytest

from ddp_tasks.queries import set_exemplars
from ddp_tasks.queries.set_exemplars import SetExemplars
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.store import groups
from ddp_tasks.store.cube import layer_parts
from ddp_tasks.visualization.exemplars import exemplars_of_sets

#: Sets of one layer as levels move: some stay, some are new, one comes twice, one is empty.
MOVED = (
    [{0: 1}, {1: -1, 3: 1}, {2: 1}],
    [{1: -1, 3: 1}, {0: 1, 2: 1}, {0: 1}],
    [{0: -1}, {0: 1}, {0: 1}, {}],
    [{0: -1}, {0: 1}],
    [],
)


@pytest.fixture(params=["held", "read again", "forgotten"])
def stored(finished, request, monkeypatch):
    if request.param == "read again":
        monkeypatch.setattr(set_exemplars, "HELD_BYTES", 0)
    if request.param == "forgotten":
        monkeypatch.setattr(set_exemplars, "_KNOWN_BYTES", 0)
    return open_significance(finished.store.parent)


def test_what_is_remembered_is_what_would_be_found_anew(stored):
    names = stored.layers["layer"].to_numpy().tolist()
    rank = int(stored.layers["rank"].sel(layer="fc1"))
    place, images = names.index("fc1"), groups.read(stored.store, "signals").sizes["image"]
    kept = SetExemplars(stored.store, place, rank, images)
    classes = stored.significance.sizes["target_class"]
    each = np.append(np.arange(classes), -1)
    joined = np.append(np.minimum(np.arange(classes), 1), -1)
    for hyperedge in (each, joined, each):
        edges = int(hyperedge.max()) + 1
        for sets in (*MOVED, *MOVED[::-1]):
            for places in (2, 3):

                def parts(hyperedge=hyperedge):
                    for signals, target in layer_parts(stored.store, place, rank):
                        yield signals, hyperedge[target]

                expected = exemplars_of_sets(parts, sets, places, edges)
                found = kept.of(sets, places, hyperedge, edges)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one.image, other.image)
                    np.testing.assert_array_equal(one.signal, other.signal)


def test_signals_that_fit_are_read_once(stored, monkeypatch):
    read = []

    def counted(*of):
        read.append(of)
        return layer_parts(*of)

    monkeypatch.setattr(set_exemplars, "layer_parts", counted)
    kept = SetExemplars(stored.store, 0, int(stored.layers["rank"][0]), 30)
    classes = stored.significance.sizes["target_class"]
    for sets in ([{0: 1}], [{1: 1}], [{0: 1}, {1: 1}]):
        kept.of(sets, 2, np.append(np.arange(classes), -1), classes)
    # The last two sets were found before.
    assert len(read) == (1 if set_exemplars.HELD_BYTES else 2)
