"""Which optimised images are asked for, by a run and by name."""

import pytest
from runs import tiny_run

from ddp_tasks.queries.findings import read_findings
from ddp_tasks.queries.visualization_targets import (
    Wanted,
    equivalence_classes,
    most_telling,
    wanted_by_run,
    wanted_of_layer,
)
from ddp_tasks.store import groups
from ddp_tasks.visualization.targets import Target
from ddp_tasks.weights.signed_vectors import SignedVector
from schemas.parameters import RunError
from schemas.visualization_parameters import VisualizationParameters

POSITIVE, NEGATIVE = SignedVector(0, 1), SignedVector(1, -1)


@pytest.fixture
def run():
    return with_options(tiny_run())


def with_options(run, **options):
    return run.model_copy(update={"visualizations": VisualizationParameters(**options)})


def test_a_run_asks_for_its_statements_and_all_equivalence_classes(run, finished) -> None:
    wanted = wanted_by_run(run, finished.store)
    assert list(wanted) == groups.read(finished.store, "layers")["layer"].to_numpy().tolist()
    statements = read_findings(run, finished.store).statements
    assert statements
    for layer, of_layer in wanted.items():
        stated = {(one.singular_vector,) for one in statements if one.layer == layer}
        assert {one.members for one in of_layer if one.rank == 0} == stated
        members = {one.members for one in of_layer}
        assert members == stated | set(equivalence_classes(finished.store, layer))
        assert len(members) == len(of_layer)
        order = [(one.rank, -one.eta_squared) for one in of_layer]
        assert order == sorted(order)


def test_all_asks_for_every_vector_in_both_directions_after_the_classes(run, finished) -> None:
    wanted = wanted_by_run(with_options(run, targets="all"), finished.store)
    ranks = groups.read(finished.store, "layers")["rank"]
    for layer, of_layer in wanted.items():
        rank = int(ranks.sel(layer=layer))
        singles = [one.members[0] for one in of_layer if len(one.members) == 1]
        assert sorted(singles) == sorted(SignedVector(i, s) for i in range(rank) for s in (1, -1))
        assert [one.rank for one in of_layer] == sorted(one.rank for one in of_layer)
    assert wanted_by_run(with_options(run, targets="none"), finished.store) == {}


def test_the_most_telling_of_all_layers_are_chosen() -> None:
    wanted = {
        "a": [Wanted((POSITIVE,), 0.9), Wanted((NEGATIVE,), 0.2)],
        "b": [Wanted((POSITIVE,), 0.5), Wanted((NEGATIVE,), 0.95, rank=1)],
    }
    assert most_telling(wanted, None) == wanted
    assert most_telling(wanted, 2) == {"a": wanted["a"][:1], "b": wanted["b"][:1]}
    assert most_telling(wanted, 3) == {"a": wanted["a"], "b": wanted["b"][:1]}


def test_vectors_and_classes_are_asked_for_by_name(run, finished) -> None:
    path = finished.store
    layer = next(
        name
        for name in groups.read(path, "layers")["layer"].to_numpy().tolist()
        if equivalence_classes(path, name)
    )
    members = equivalence_classes(path, layer)[0]
    by_vector = wanted_of_layer(run, path, layer, classes=[str(members[-1])])
    assert by_vector == wanted_of_layer(run, path, layer, classes=[f"[{members[0]}]"])
    assert by_vector == [Wanted(members)]
    opposite = wanted_of_layer(run, path, layer, vectors=[1, 0, 1], negative=True)
    assert [one.members for one in opposite] == [(SignedVector(1, -1),), (SignedVector(0, -1),)]
    target_class = "left"
    significant = {vector for members in equivalence_classes(path, layer) for vector in members}
    (of_class,) = wanted_of_layer(run, path, layer, classes=[target_class])
    assert set(of_class.members) <= significant
    everything = wanted_of_layer(run, path, layer)
    assert [one.members for one in everything] == equivalence_classes(path, layer)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"vectors": [99]}, "vector: 99 is refused; layer fc1 has singular vectors 0 to 6"),
        ({"vectors": [-1]}, "vector: -1 is refused"),
        ({"classes": ["lefft"]}, r"'lefft' is no target class .* \(did you mean 'left'\?\)"),
        ({"classes": ["v99"]}, "no equivalence class of layer fc1"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_there_is(run, finished, asked, message) -> None:
    with pytest.raises(RunError, match=message):
        wanted_of_layer(run, finished.store, "fc1", **asked)


def test_a_target_is_made_once_for_each_objective_and_image() -> None:
    options = VisualizationParameters(
        objectives=["mean", "density"], diverse=2, parametrization="maco"
    )
    targets = Wanted((SignedVector(3, -1),)).targets(options)
    assert [(t.objective, t.number) for t in targets] == [
        ("mean", 0),
        ("mean", 1),
        ("density", 0),
        ("density", 1),
    ]
    assert {t.key for t in targets} >= {Target((3,), (), "negative", "mean", "maco", 0, 2).key}
