import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas import RunError, load_run, presets
from schemas.parameters import GRID
from schemas.recording import stored_identity
from schemas.run_files import load_cluster

MINIMAL = {"model": {"factory": "a:b"}, "images": {"factory": "c:d"}}


def _write(folder, content, name="run.yaml"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def _refusal(folder, content, overrides=()):
    with pytest.raises(RunError) as refusal:
        load_run(_write(folder, content), overrides)
    return str(refusal.value)


def test_a_minimal_run_file_has_the_papers_levels(tmp_path):
    run = load_run(_write(tmp_path, MINIMAL, "mine.yaml"))
    assert run.name == "mine"
    assert (run.significance.quantile, run.significance.percentage) == (0.9, 75)
    assert run.layers == "all"
    assert run.images.per_class is None
    assert run.cluster == "auto"


def test_a_run_is_a_mapping_of_its_fields_and_is_written_under_its_files_keys(tmp_path):
    keys = {"image": "scan", "label": 1}
    images = {"factory": "c:d", "keys": keys}
    run = load_run(_write(tmp_path, {**MINIMAL, "images": images}))
    # Prefect takes a flow's parameters apart with dict(), which calls whatever is named keys.
    assert dict(dict(run)["images"])["item_keys"].image == "scan"
    assert json.loads(run.model_dump_json())["images"]["keys"] == keys
    assert type(run).model_validate_json(run.model_dump_json()) == run
    near = _refusal(tmp_path, {**MINIMAL, "images": {"factory": "c:d", "key": keys}})
    assert "(did you mean 'keys'?)" in near


@pytest.mark.parametrize("preset", sorted(presets()))
def test_every_preset_loads_and_says_what_it_is(preset):
    run = load_run(preset)
    assert run.name == preset
    assert presets()[preset]
    assert ":" not in presets()[preset][:1]


def test_the_presets_that_come_with_the_package():
    assert {"digits", "mnist", "fashion-mnist"} <= set(presets())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("digist", "unknown preset 'digist' (did you mean 'digits'?); presets: "),
        ("zzz", "unknown preset 'zzz'; presets: "),
        ("nowhere/run.yaml", "run file 'nowhere/run.yaml' does not exist"),
        ("nowhere.yml", "run file 'nowhere.yml' does not exist"),
    ],
)
def test_unknown_presets_and_missing_files_are_refused(source, reason):
    with pytest.raises(RunError) as refusal:
        load_run(source)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        # Misspelt keys, at every depth, below a key of the person's own too.
        ({"modle": {}}, "modle: unknown key (did you mean 'model'?)"),
        (
            {"significance": {"quantle": 0.9}},
            "significance.quantle: unknown key (did you mean 'quantile'?); allowed: quantile, "
            "percentage, layers, grid",
        ),
        (
            {"significance": {"layers": {"conv2": {"precentage": 80}}}},
            "significance.layers.conv2.precentage: unknown key (did you mean 'percentage'?); "
            "allowed: quantile, percentage",
        ),
        (
            {"significance": {"layers": {"quantile": {"x": 80}}}},
            "significance.layers.quantile.x: unknown key; allowed: quantile, percentage",
        ),
        (
            {"images": {"factory": "c:d", "transform": {"corp": 3}}},
            "images.transform.corp: unknown key (did you mean 'crop'?); allowed: resize, crop",
        ),
        (
            {"model": {"factory": "a:b", "training": {"epoch": 3}}},
            "model.training.epoch: unknown key (did you mean 'epochs'?)",
        ),
        # Groups of classes.
        (
            {"significance": {"superclasses": {"animals": []}}},
            "significance: superclasses: 'animals' has no class; name at least one",
        ),
        (
            {"significance": {"superclasses": {"a": ["cat", "dog"], "b": ["cat"]}}},
            "superclasses: the class 'cat' is named 2 times, in a, b; a class belongs to one group",
        ),
        ({"significance": {"superclasses": {"a": [3]}}}, "significance.superclasses.a.0: 3 is"),
        ({"significance": {"superclasses": "no.yaml"}}, "file 'no.yaml' does not exist"),
        ({"significance": {"confidence": 1}}, "significance.confidence: 1 is refused"),
        ({"significance": {"resamples": -1}}, "significance.resamples: -1 is refused"),
        ({"significance": {"percentages": [0]}}, "significance.percentages.0: 0 is refused"),
        ({"significance": {"sample_sizes": [0]}}, "significance.sample_sizes.0: 0 is refused"),
        # Missing and of the wrong type.
        ({"model": {"kwargs": {}}}, "model.factory: missing; it must be given"),
        ({"model": None}, "model: None is refused"),
        ({"images": {"factory": 3}}, "images.factory: 3 is refused"),
        ({"images": {"factory": "c:d", "per_class": True}}, "images.per_class: True is refused"),
        ({"images": {"factory": "c:d", "per_class": 2.5}}, "images.per_class: 2.5 is refused"),
        ({"significance": {"percentage": "75"}}, "significance.percentage: '75' is refused"),
        ({"layers": 3}, "layers: 3 is refused"),
        ({"layers": ["fc1", 2]}, "layers.1: 2 is refused"),
        ({"name": None}, "name: None is refused"),
        # Impossible values, with what is allowed.
        (
            {"significance": {"percentage": 250}},
            "significance.percentage: 250 is refused; should be less than or equal to 100",
        ),
        ({"significance": {"percentage": 0}}, "0 is refused; should be greater than 0"),
        ({"significance": {"quantile": 1}}, "1 is refused; should be less than 1"),
        ({"significance": {"quantile": float("nan")}}, "significance.quantile: nan is refused"),
        ({"significance": {"grid": [0.5, 1.5]}}, "significance.grid.1: 1.5 is refused"),
        (
            {"significance": {"layers": {"conv2": {"quantile": 9}}}},
            "significance.layers.conv2.quantile: 9 is refused; should be less than 1",
        ),
        ({"images": {"factory": "c:d", "per_class": 0}}, "images.per_class: 0 is refused"),
        (
            {"shards": {"images": -1}},
            "shards.images: -1 is refused; should be 'auto', or should be greater than 0",
        ),
        ({"right_singular_vectors": "some"}, "right_singular_vectors: 'some' is refused"),
        ({"layers": []}, 'layers is empty; write "all" or at least one name or glob'),
        (
            {"model": {"factory": "resnet18"}},
            "model.factory: 'resnet18' is refused; write module:callable or "
            "path/to/file.py:callable",
        ),
        (
            {"model": {"factory": "a:b", "weights": "w.pt", "training": {}}},
            "model: weights and training exclude each other; keep one of them",
        ),
        (
            {"images": {"factory": "c:d", "transform": {"mean": [0.1]}}},
            "images.transform: mean and std are given together or not at all",
        ),
        (
            {
                "images": {
                    "factory": "c:d",
                    "transform": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0]},
                }
            },
            "mean has 3 channels and std has 2; both must have as many",
        ),
        (
            {"images": {"factory": "c:d", "transform": {"mean": [0.1], "std": [0.0]}}},
            "images.transform.std.0: 0.0 is refused",
        ),
    ],
)
def test_refusals_name_key_value_and_what_is_allowed(tmp_path, section, reason):
    refused = _refusal(tmp_path, {**MINIMAL, **section})
    assert reason in refused
    assert refused.startswith(str(tmp_path / "run.yaml"))


def test_all_mistakes_are_told_at_once(tmp_path):
    mistakes = {"significance": {"percentage": 250, "quantile": 2}, "exemplars": 0}
    assert len(_refusal(tmp_path, {**MINIMAL, **mistakes}).splitlines()) == 1 + 3


@pytest.mark.parametrize("content", ["a: [1", "- a\n- b\n", "", "just text"])
def test_files_that_are_no_mapping_are_refused(tmp_path, content):
    assert "run.yaml" in _refusal(tmp_path, content)


def test_set_overrides_by_dotted_key(tmp_path):
    run = load_run(
        _write(tmp_path, MINIMAL),
        [
            "images.per_class=7",
            "significance.layers.fc1.quantile=0.95",
            "layers=[conv1, fc*]",
            "model.kwargs.classes=3",
            "name=a=b",
        ],
    )
    assert run.images.per_class == 7
    assert run.significance.levels("fc1") == (0.95, 75)
    assert run.layers == ["conv1", "fc*"]
    assert run.model.kwargs == {"classes": 3}
    assert run.name == "a=b"


def test_set_replaces_what_a_preset_says():
    run = load_run("digits", ["significance.percentage=60", "model.training.epochs=1"])
    assert run.significance.percentage == 60
    assert run.model.training.epochs == 1
    assert run.model.training.batch_size == load_run("digits").model.training.batch_size
    bare = load_run("digits", ["model.training=null", "model.weights=DEFAULT"])
    assert bare.model.training is None
    assert bare.model.weights == "DEFAULT"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("images.per_class", "overrides: 'images.per_class': write key=value"),
        ("=3", "overrides: '=3': write key=value"),
        ("layers=[fc1", "overrides: 'layers=[fc1': the value is refused: line 1: "),
        ("images.perclass=3", "images.perclass: unknown key (did you mean 'per_class'?)"),
        ("significance.percentage=250", "significance.percentage: 250 is refused"),
        ("images=5", "images: 5 is refused"),
    ],
)
def test_overrides_are_refused_like_the_file(tmp_path, override, reason):
    assert reason in _refusal(tmp_path, MINIMAL, [override])


def test_relative_files_are_looked_up_from_the_run_files_folder(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    folder.mkdir()
    content = {
        "model": {"factory": "nets/mine.py:Net", "weights": "best.pt"},
        "images": {"factory": "sets.py:Images"},
        "cluster": "big.yaml",
    }
    _write(folder, content)
    monkeypatch.chdir(tmp_path)
    run = load_run("runs/run.yaml")
    assert run.model.factory == f"{folder}/nets/mine.py:Net"
    assert run.images.factory == f"{folder}/sets.py:Images"
    assert run.model.weights_file == folder / "best.pt"
    assert run.cluster == f"{folder}/big.yaml"


def test_absolute_and_home_files_and_names_stay_what_they_are(tmp_path):
    content = {
        "model": {"factory": f"{tmp_path}/mine.py:Net", "weights": "~/best.pth"},
        "images": {"factory": "torchvision.datasets:MNIST"},
        "cluster": "tcp://host:8786",
    }
    run = load_run(_write(tmp_path, content))
    assert run.model.factory == f"{tmp_path}/mine.py:Net"
    assert run.model.weights_file == Path.home() / "best.pth"
    assert run.images.factory == "torchvision.datasets:MNIST"
    assert run.cluster == "tcp://host:8786"


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1", "VGG16_Weights.IMAGENET1K_V1"])
def test_torchvision_weights_names_are_no_files(tmp_path, weights):
    content = {**MINIMAL, "model": {"factory": "a:b", "weights": weights}}
    run = load_run(_write(tmp_path, content))
    assert run.model.weights == weights
    assert run.model.weights_file is None


def test_levels_of_a_layer_by_its_name_before_globs(tmp_path):
    layers = {"conv*": {"quantile": 0.8, "percentage": 60}, "conv2": {"quantile": 0.85}}
    run = load_run(_write(tmp_path, {**MINIMAL, "significance": {"layers": layers}}))
    assert run.significance.levels("conv1") == (0.8, 60)
    # Its own name is taken whole: what it leaves out falls back on the run, not on the glob.
    assert run.significance.levels("conv2") == (0.85, 75)
    assert run.significance.levels("fc1") == (0.9, 75)


@given(st.lists(st.floats(0.01, 0.99), max_size=4), st.floats(0.01, 0.99))
def test_the_runs_own_levels_are_always_among_those_computed(grid, own):
    from schemas.parameters import LayerSignificance, SignificanceParameters

    levels = SignificanceParameters(
        quantile=own, grid=grid, layers={"fc1": LayerSignificance(quantile=0.33)}
    ).quantiles
    assert set(levels) == {*grid, own, 0.33}
    assert list(levels) == sorted(set(levels))


def test_the_runs_own_percentages_are_always_on_the_familys_map(tmp_path):
    significance = {"percentages": [50], "percentage": 62, "layers": {"fc1": {"percentage": 99}}}
    run = load_run(_write(tmp_path, {**MINIMAL, "significance": significance}))
    assert run.significance.all_percentages == (50, 62, 99)


def test_groups_of_classes_may_lie_in_a_file_of_their_own(tmp_path):
    groups = {"animals": ["cat", "dog"]}
    _write(tmp_path, groups, "groups.yaml")
    content = {**MINIMAL, "significance": {"superclasses": "groups.yaml"}}
    assert load_run(_write(tmp_path, content)).significance.superclasses == groups


def test_a_run_selects_layers_by_name_or_glob(tmp_path):
    run = load_run(_write(tmp_path, {**MINIMAL, "layers": ["fc1", "features.*"]}))
    assert run.selects("fc1")
    assert run.selects("features.0")
    assert not run.selects("fc2")
    assert load_run(_write(tmp_path, MINIMAL)).selects("anything")
    assert list(GRID) == load_run(_write(tmp_path, MINIMAL)).significance.grid


def test_a_store_is_continued_wherever_things_lie_but_not_with_other_levels(tmp_path):
    def identity(*overrides):
        return stored_identity(load_run(_write(tmp_path, MINIMAL), overrides))

    same = identity()
    for override in (
        "cluster=local",
        "name=again",
        "model.weights=x/y.pt",
        "images.kwargs.root=/elsewhere",
        "shards.batch_size=3",
        "shards.patience=3",
        "significance.confidence=0.9",
        "significance.resamples=0",
        "significance.superclasses={pets: [cat]}",
    ):
        assert identity(override) == same
    for override in (
        "significance.quantile=0.8",
        "images.per_class=3",
        "shards.images=3",
        "layers=[fc1]",
        "images.transform.resize=3",
        "capacity=[unfolded]",
    ):
        assert identity(override) != same


def test_the_capacity_metric_needs_the_unfolded_weights_or_nothing(tmp_path):
    assert load_run(_write(tmp_path, MINIMAL)).capacity == ["unfolded", "slices", "channels"]
    assert load_run(_write(tmp_path, MINIMAL), ["capacity=[]"]).capacity == []
    assert "lacks unfolded" in _refusal(tmp_path, MINIMAL, ["capacity=[slices]"])
    assert "capacity" in _refusal(tmp_path, MINIMAL, ["capacity=[blocks]"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"factory": "a:b", "minimum": 1}, "minimum and maximum are given together"),
        ({"factory": "a:b", "minimum": 3, "maximum": 2}, "minimum 3 is greater than maximum 2"),
        (
            {"factory": "a:b", "workers": 2, "minimum": 0, "maximum": 2},
            "workers and minimum, maximum exclude each other",
        ),
        ({"factory": "a:b", "wokers": 2}, "wokers: unknown key (did you mean 'workers'?)"),
        ({"workers": 2}, "neither factory nor address is given; one of them is needed"),
        (
            {"address": "tcp://a:8786", "factory": "a:b", "maximum": 2},
            "address and factory, maximum exclude each other",
        ),
        (
            {"address": "a:8786"},
            "address: 'a:8786' is refused; write protocol://host:port, such as tcp://host:8786",
        ),
    ],
)
def test_cluster_files_are_refused_with_the_reason(tmp_path, content, reason):
    with pytest.raises(RunError) as refusal:
        load_cluster(Path(_write(tmp_path, content)))
    assert reason in str(refusal.value)


def test_cluster_files(tmp_path):
    content = {"factory": "a:b", "minimum": 0, "maximum": 2, "kwargs": {"memory": "4GB"}}
    cluster = load_cluster(Path(_write(tmp_path, content)))
    assert (cluster.minimum, cluster.maximum, cluster.kwargs) == (0, 2, {"memory": "4GB"})
    cluster = load_cluster(Path(_write(tmp_path, {"address": "tls://a:8786"})))
    assert (cluster.address, cluster.factory) == ("tls://a:8786", None)
    with pytest.raises(RunError, match=r"cluster: 'atuo' is not auto, local, cuda"):
        load_cluster(Path("atuo"))
