import numpy as np
import pandas as pd
import pytest
import reference
import xarray as xr
from findings import findings, nested
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_cubes import significance_of
from strategies import LEVELS, cubes

from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.hif import read_hif, write_hif
from ddp_tasks.queries.hypergraphs import stored_hypergraph
from ddp_tasks.queries.significance import open_significance
from ddp_tasks.queries.table_files import write_table
from ddp_tasks.significance.confidence_intervals import difference_intervals
from ddp_tasks.significance.distinguishing import distinguishing, ranked_vectors
from ddp_tasks.significance.superclasses import superclass_dataset
from ddp_tasks.store import creation
from ddp_tasks.store.identity import Identity
from schemas.parameters import RunError


def layers_of(cube):
    shape = (len(cube.ranks), max(cube.ranks))
    dims = ("layer", "singular_vector")
    values = np.broadcast_to(np.arange(shape[1], 0, -1.0), shape)
    names = np.array([f"layer{i}" for i in range(shape[0])], dtype=object)
    return xr.Dataset(
        {
            "rank": ("layer", list(cube.ranks)),
            "singular_value": (dims, values),
            "relative_gap": (dims, np.ones(shape)),
        },
        coords={"layer": names},
    )


@settings(max_examples=25)
@given(cubes(), LEVELS, st.data())
def test_a_pair_of_classes_is_compared_image_by_image(cube, levels, data):
    present = sorted({int(t) for t in cube.targets})
    a, b = data.draw(st.sampled_from([(a, b) for a in present for b in range(4) if a != b]))
    significance, layers = significance_of(cube, levels), layers_of(cube)
    names = significance["layer"].values.tolist()

    def asked():
        return distinguishing(
            significance,
            layers,
            names,
            (f"class {a}", f"class {b}"),
            lambda _: (levels[0], 50),
            confidence=0.9,
        )

    if b >= cube.target_classes:
        return
    if b not in present:
        with pytest.raises(ValueError, match=f"the class 'class {b}' has no images"):
            asked()
        return
    frame = asked()
    assert len(frame) == 2 * sum(cube.ranks)
    for row in frame.itertuples():
        layer = names.index(row.layer)
        sign = 1 if row.direction == "positive" else -1
        q = reference.threshold(cube.signals, layer, cube.ranks[layer], levels[0], sign)
        counts, images = zip(
            *(
                (
                    reference.significant_images(
                        cube.signals,
                        cube.targets,
                        layer,
                        row.singular_vector,
                        target_class=c,
                        q=q,
                        sign=sign,
                    ),
                    int((cube.targets == c).sum()),
                )
                for c in (a, b)
            ),
            strict=True,
        )
        assert (row.fraction_a, row.fraction_b) == tuple(np.divide(counts, images))
        assert row.difference == row.fraction_a - row.fraction_b
        searched = 2 * sum(cube.ranks)
        pair = tuple(np.array([c]) for c in counts)
        low, high = difference_intervals(pair, images, 0.9, searched)
        assert (row.low, row.high) == (low[0], high[0])
        for count, of, marked in zip(
            counts, images, (row.significant_a, row.significant_b), strict=True
        ):
            assert marked == reference.significant_for_class(count, of, 50)
    sure = np.maximum(np.maximum(frame["low"], -frame["high"]), 0)
    assert (np.diff(sure) <= 0).all()


def test_by_hand():
    # v0 is significant for every cat and no dog, v1 for no cat and half of the dogs, v2 for half
    # of either: the sign of the difference says which class has more.
    fraction = np.array([[[1.0, 0.0, 0.5]], [[0.0, 0.5, 0.5]]], dtype=np.float32)
    significance = xr.Dataset(
        {
            "fraction": (
                ("split", "direction", "quantile", "target_class", "layer", "singular_vector"),
                fraction[None, None, None],
            ),
            "threshold": (("direction", "quantile", "layer"), np.zeros((1, 1, 1))),
            "images": (("split", "target_class"), np.array([[20, 20]])),
        },
        coords={
            "split": ["all"],
            "direction": ["positive"],
            "quantile": [0.5],
            "target_class": ["cat", "dog"],
            "layer": ["layer0"],
            "singular_vector": [0, 1, 2],
        },
    )

    class Cube:
        ranks = (3,)

    frame = distinguishing(
        significance,
        layers_of(Cube),
        ["layer0"],
        ("cat", "dog"),
        lambda _: (0.5, 75),
        directions=("positive",),
    )
    assert frame["singular_vector"].tolist() == [0, 1, 2]
    assert frame["difference"].tolist() == [1, -0.5, 0]
    assert frame["significant_a"].tolist() == [True, False, False]
    ranked = ranked_vectors(
        significance, layers_of(Cube), "layer0", lambda _: (0.5, 75), ("positive",)
    )
    assert ranked["singular_vector"].tolist() == [0, 1, 2]
    assert ranked["only"].tolist() == ["cat", "", ""]
    assert ranked["most_for"].tolist() == ["cat", "dog", "cat"]
    assert ranked["eta_squared"].tolist() == [1, pytest.approx(1 / 3), 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The store of a small run, as far as class tables go."""
    made = findings(np.concatenate([nested(), nested()]))
    out = tmp_path_factory.mktemp("run")
    shards = made.run.shards.model_copy(update={"images": 8})
    run = made.run.model_copy(update={"shards": shards})
    names = made.significance["target_class"].values.tolist()
    groups = {"first two": names[:2], "last": names[3:]}
    identity = Identity.of_run(run, "ab", "cd")
    dims = ("image", "layer", "singular_vector")
    creation.create(
        out / "store.zarr",
        run,
        identity,
        not_analysed={},
        groups={
            "layers": made.layers,
            "significance": made.significance,
            "superclasses": superclass_dataset(made.significance, groups),
        },
        signals=made.signals[["target", "dataset_index", "target_class"]].assign_coords(
            {d: made.signals[d] for d in dims}
        ),
    )
    return out


def test_a_finished_run_answers_from_its_store(folder, tmp_path):
    stored = open_significance(folder)
    at = stored.at("layer0")
    np.testing.assert_array_equal(at.significant, nested()[0])
    frame = stored.table("layer0")
    assert frame.columns[0] == "target_class"
    np.testing.assert_array_equal(frame["significant"], nested()[0].ravel())
    write_table(frame, tmp_path / "table.csv")
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(frame) == 24
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    only = stored.ranked("layer1").set_index("singular_vector")["only"]
    assert only[4].startswith("1 - ")
    assert (only.drop(4) == "").all()
    a, b = (str(c) for c in stored.significance["target_class"].values[:2])
    told = stored.distinguishing(a, b, "layer*")
    assert set(told["singular_vector"][:4]) == {3, 4}
    over = open_significance(folder, superclasses=True)
    assert over.table("layer0").columns[0] == "superclass"
    assert over.family("layer0").images.tolist() == [20, 10]
    assert over.at("layer0").significant[:, 4].tolist() == [0, 0]


@pytest.mark.parametrize("superclasses", [False, True])
def test_any_hypergraph_of_the_family_goes_to_a_file_and_comes_back(folder, tmp_path, superclasses):
    stored = open_significance(folder, superclasses)
    for percentage, direction in ((75, "positive"), (10, "negative"), (100, "negative")):
        at = stored.family("layer1").at(0.8, percentage, (direction,))
        graph, metadata = stored_hypergraph(stored, "layer1", 0.8, percentage, direction)
        write_hif(graph, metadata, tmp_path / "one.hif.json")
        read, told = read_hif(tmp_path / "one.hif.json")
        incidences = {(edge, node) for edge in read.edges for node in read.edges[edge]}
        assert incidences == {
            (at.target_classes[c], v) for c, v in np.argwhere(at.significant).tolist()
        }
        assert told == {
            "name": "layer1",
            "run": stored.run.name,
            "hyperedges": "superclass" if superclasses else "target_class",
            "direction": direction,
            "quantile": 0.8,
            "threshold": at.thresholds[0],
            "percentage": percentage,
            **({} if incidences else {"empty": why_empty(at)}),
        }
        if incidences:
            edge, node = next(iter(incidences))
            assert read.edges[edge].images == at.images[at.target_classes.index(edge)]
            assert np.isfinite(read.nodes[node].discrimination)


def test_what_there_is_not_is_refused(folder):
    stored = open_significance(folder)
    a = str(stored.significance["target_class"].values[0])
    for question, said in (
        (lambda: stored.distinguishing("cat", a), "there is no class 'cat'; classes: 0 - a rather"),
        (lambda: stored.distinguishing(a, a), "is given twice; name two classes"),
        (lambda: stored.distinguishing(a, a.replace("0", "1"), "layr0"), "'layr0' matches no"),
        (
            lambda: stored.distinguishing(a, a.replace("0", "1"), direction="up"),
            "direction 'up' is not stored; stored: positive, negative",
        ),
        (lambda: stored.table("layer7"), "there is no layer 'layer7'"),
        (lambda: stored.ranked("layer7"), "there is no layer 'layer7'"),
        (lambda: stored.table("layer0", quantile=1.5), "quantile level 1.5 is refused"),
        (lambda: stored.table("layer0", quantile=float("nan")), "quantile level nan is refused"),
        (lambda: stored.table("layer0", percentage=101), "percentage: 101 is refused"),
        (lambda: stored_hypergraph(stored, "layer7"), "there is no layer 'layer7'"),
        (
            lambda: stored_hypergraph(stored, "layer0", direction="up"),
            "direction 'up' is not stored",
        ),
        (lambda: open_significance(folder / "nowhere"), "is not a Zarr store"),
    ):
        with pytest.raises(RunError) as refusal:
            question()
        assert said in str(refusal.value)


def test_groups_named_afterwards_give_what_a_run_that_names_them_stores(folder):
    stored = open_significance(folder, superclasses=True)
    again = open_significance(folder).grouped(stored.superclasses)
    assert again.class_names == stored.class_names == ("first two", "last")
    for layer in ("layer0", "layer1"):
        assert again.table(layer).equals(stored.table(layer))
        assert again.ranked(layer).equals(stored.ranked(layer))
        sizes = [one.family(layer).sizes([50, 75]) for one in (again, stored)]
        assert sizes[0].equals(sizes[1])
    a, b = again.class_names
    assert again.distinguishing(a, b).equals(stored.distinguishing(a, b))
    with pytest.raises(RunError, match="group 'odd': there is no class '7'"):
        stored.grouped({"odd": ["7"]})
