from functools import partial

import numpy as np
import pytest
import xarray as xr

from ddp_tasks.queries import layer_levels
from ddp_tasks.queries.hypergraphs import stored_hypergraph
from ddp_tasks.queries.layer_levels import LayerLevels
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.significance.significance import significance_dataset
from ddp_tasks.significance.superclasses import over_superclasses, superclass_dataset
from ddp_tasks.store import groups
from schemas.parameters import RunError


@pytest.fixture(scope="module", params=["kept", "read again"])
def stored(finished, request):
    """The tables of the finished run, whose layers are kept in memory or read in parts."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "read again":
            patch.setattr(layer_levels, "KEPT_BYTES", 4 * 30 * 8)  # eight vectors at a time
        yield open_significance(finished.store.parent)


def parts_of(path):
    signals = groups.read(path, "signals").load()
    return partial(iter, [(signals["signal"].to_numpy(), signals["target"].to_numpy())])


def test_stored_levels_are_counted_to_the_bit(stored):
    for layer in stored.layers["layer"].to_numpy():
        rank = int(stored.layers["rank"].sel(layer=layer))
        for level in stored.significance["quantile"].to_numpy():
            expected = stored.significance.sel(layer=[layer], quantile=[level])
            found = stored.any_level(layer).counted(float(level))
            xr.testing.assert_identical(
                found.load(), expected.isel(singular_vector=slice(0, rank)).load()
            )


def test_a_level_between_is_what_a_run_with_it_would_have_stored(stored):
    levels = [0.123, 0.777]
    part = stored.significance["part"].to_numpy()
    names = stored.significance["target_class"].to_numpy().tolist()
    run = significance_dataset(parts_of(stored.store), stored.layers, names, levels, part)
    members = {"one": ["both", "left"], "other": ["right"]}
    over = over_superclasses(run, superclass_dataset(run, members))
    for layer in ("conv2", "fc1"):
        for level in levels:
            for significance, classes in ((run, None), (over, members)):
                expected = layer_levels.Family.of(significance, layer).at(level, 60)
                found = stored.any_level(layer).at(level, 60, classes=classes)
                for name, value in vars(expected).items():
                    np.testing.assert_array_equal(getattr(found, name), value)
    # The tables for people are told of the same counts.
    assert stored.at("fc1", 0.777, 60, "both").thresholds == found.thresholds
    frame = stored.table("fc1", 0.777, 60, "positive")
    chosen = run["fraction"].sel(layer="fc1", quantile=0.777, direction="positive")
    within = chosen.isel(split=-1).to_numpy()[:, : frame["singular_vector"].max() + 1]
    assert frame["fraction"].tolist() == within.ravel().tolist()
    graph, metadata = stored_hypergraph(stored, "fc1", 0.777, 30)
    assert metadata["quantile"] == 0.777
    assert len(graph.edges) == stored.findings("fc1", 0.777, 30).sizes.hyperedges


def test_hypergraph_and_hierarchy_are_those_of_the_store(stored):
    for layer in ("conv1", "fc2"):
        levels = stored.any_level(layer)
        own = stored.run.significance.levels(layer)
        table = levels.at(*own, stored.directions())
        relations = groups.read(stored.store, f"hypergraphs/{layer}").load()
        found = levels.hypergraph(table).relations
        for name, variable in relations.variables.items():
            np.testing.assert_array_equal(found[name].to_numpy(), variable.to_numpy())
        hierarchy = groups.read(stored.store, f"hierarchies/{layer}").load()
        found = levels.hierarchy(table, places=stored.run.exemplars)
        for name, variable in hierarchy.variables.items():
            np.testing.assert_array_equal(found[name].to_numpy(), variable.to_numpy())


def test_exemplars_of_groups_are_images_of_their_classes(stored):
    levels = stored.any_level("fc1")
    members = {"left or right": ["left", "right"]}
    hierarchy = levels.hierarchy(levels.at(0.3, 50, classes=members), members)
    target = groups.read(stored.store, "signals")["target"].load()
    shown = [one for one in hierarchy["exemplar"].to_numpy().ravel().tolist() if one]
    assert shown
    assert set(target.sel(image=shown).to_numpy().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (lambda levels: levels.at(1.0, 50), "quantile level 1 is refused; between 0 and 1"),
        (lambda levels: levels.at(float("nan"), 50), "quantile level nan is refused"),
        (lambda levels: levels.at(0.77, 0), "percentage: 0 is refused"),
        (lambda levels: levels.at(0.5, 50, classes={}), "there is no group of classes"),
        (lambda levels: levels.at(0.5, 50, classes={"a": []}), r"group 'a': \[\] is refused"),
        (
            lambda levels: levels.at(0.5, 50, classes={"a": ["lefd"]}),
            r"group 'a': there is no class 'lefd' \(did you mean 'left'\?\)",
        ),
        (
            lambda levels: levels.at(0.5, 50, classes={"a": ["left"], "b": ["left"]}),
            "group 'b': the class 'left' is in 'a' already",
        ),
    ],
)
def test_what_cannot_be_is_refused(stored, asked, refused):
    with pytest.raises(RunError, match=refused):
        asked(stored.any_level("fc1"))


def test_a_layer_that_is_not_there_is_refused(stored):
    with pytest.raises(RunError, match="there is no layer 'fc11'"):
        LayerLevels(stored.store, stored.significance, stored.layers, "fc11")
