import numpy as np
import pytest
import xarray as xr
from control_groups import controls
from findings import findings, nested, nothing

from ddp_tasks.queries.addresses import class_address, layer_address, vector_address
from ddp_tasks.queries.conclusion import conclusion
from ddp_tasks.queries.findings import read_findings
from ddp_tasks.queries.statements import listed
from ddp_tasks.store import groups


@pytest.fixture(scope="module")
def two_layers():
    # layer1 has vectors of its own: v1 for class 3 alone, v2 for classes 0 and 3.
    other = nothing()
    other[0, 3, 1] = other[0, 0, 2] = other[0, 3, 2] = True
    return findings(np.concatenate([nested(), other]))


@pytest.fixture(scope="module")
def told(two_layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("told") / "store.zarr"
    two_layers.write(path)
    return read_findings(two_layers.run, path)


def _classes(made, finding):
    names = list(made.images.target_classes)
    return sorted(names.index(one.target_class) for one in finding.classes)


def test_statements_differ_in_classes_and_come_from_several_layers(told, two_layers):
    sets = [_classes(two_layers, one) for one in told.statements]
    assert len(sets) == 5
    assert len({tuple(one) for one in sets}) == 5
    assert {one.layer for one in told.statements} == {"layer0", "layer1"}
    # What answers to all classes tells nothing of any, and is left for last.
    assert [0, 1, 2, 3] not in sets[:4]
    # What is sure comes before what the arithmetic leaves arbitrary; the first two vectors are.
    arbitrary = [one.arbitrary for one in told.statements[:4]]
    assert arbitrary == sorted(arbitrary)
    # Few classes first.
    assert len(sets[0]) <= 2


def test_a_statement_has_the_numbers_of_the_store(told, two_layers):
    (one,) = [s for s in told.statements if _classes(two_layers, s) == [3]]
    (share,) = one.classes
    assert (one.layer, one.singular_vector.vector, one.singular_vector.sign) == ("layer1", 1, 1)
    stored = two_layers.significance.sel(layer="layer1", direction="positive", singular_vector=1)
    level = two_layers.run.significance.levels("layer1").quantile
    fraction = stored["fraction"].isel(split=-1).sel(quantile=level).to_numpy()
    assert share.share == fraction[3] == 1
    # 10 images of each of 4 classes, 6 vectors: the exact interval of 10 of 10 among 24.
    assert share.low == pytest.approx((0.05 / 24 / 2) ** (1 / 10))
    assert share.high == 1
    assert (share.resamples, one.resamples) == (1, 1)
    assert one.next_share == fraction[:3].max() == 0
    assert one.eta_squared == pytest.approx(1)
    drawn = two_layers.controls.sel(layer="layer1", measure="eta_squared_best")
    below = (drawn["rotation"] < one.eta_squared).mean() + (
        drawn["rotation"] == one.eta_squared
    ).mean() / 2
    assert one.percentile == pytest.approx(100 * float(below))
    strongest = two_layers.exemplars["image"].sel(
        layer="layer1", singular_vector=1, direction="positive"
    )
    assert [e.image for e in one.exemplars] == strongest.to_numpy().tolist()[:6]
    assert {e.target_class for e in one.exemplars} == {share.target_class}
    assert one.optimised == ""
    assert one.address == "layer1/v1"


def test_a_sentence_says_share_interval_resamples_and_rotations(told, two_layers):
    (one,) = [s for s in told.statements if _classes(two_layers, s) == [3]]
    assert one.sentence.startswith(f"layer1: v1* answers to {one.classes[0].target_class}. ")
    assert "Strong in 100% of its images (interval 50% to 100%)" in one.sentence
    assert "It holds in every resample of the images." in one.sentence
    outside = "It stands out" if one.percentile >= 95 else "do as well"
    assert outside in one.sentence
    assert one.sentence.endswith("arbitrary within the space that they share.")


def test_a_weak_incidence_is_said_to_be_uncertain(two_layers, tmp_path):
    path = tmp_path / "store.zarr"
    two_layers.write(path)
    stability = two_layers.stability["layer1"].copy(deep=True)
    stability["incidence"].loc[{"singular_vector": 1}] = 0.4
    groups.write(path, "stability/layer1", stability)
    told = read_findings(two_layers.run, path).statements
    (one,) = [s for s in told if _classes(two_layers, s) == [3]]
    assert "hold in as few as 40%" in one.sentence or "holds in as few as 40%" in one.sentence
    # What is sure comes first.
    at = [_classes(two_layers, s) for s in told]
    assert at.index([3]) > at.index([0, 3])


def test_a_group_of_classes_is_named_and_preferred(two_layers, tmp_path):
    path = tmp_path / "store.zarr"
    two_layers.write(path)
    names = list(two_layers.images.target_classes)
    significance = {"superclasses": {"outer": [names[0], names[3]]}}
    run = two_layers.run.model_copy(
        update={
            "significance": two_layers.run.significance.model_copy(update=significance),
        }
    )
    member = np.array([[True, False, False, True]])
    of_groups = xr.Dataset(
        {
            "member": (("superclass", "target_class"), member),
            "fraction": two_layers.significance["fraction"]
            .isel(target_class=[0])
            .rename(target_class="superclass")
            .drop_vars("superclass"),
            "images": (("split", "superclass"), np.array([[20]])),
        },
        coords={
            "superclass": np.array(["outer"], dtype=object),
            "target_class": np.array(names, dtype=object),
        },
    )
    groups.write(path, "superclasses", of_groups)
    first = read_findings(run, path).statements[0]
    assert first.group == "outer"
    assert first.headline.startswith("v2 answers to outer: ")


def test_a_run_without_significant_vectors_has_no_statement_and_a_conclusion(tmp_path):
    made = findings(nothing())
    made.write(tmp_path / "store.zarr")
    told = read_findings(made.run, tmp_path / "store.zarr")
    assert told.statements == ()
    assert told.conclusion.sentence


def test_a_vector_of_all_classes_says_so(tmp_path):
    strong = nothing()
    strong[0, :, 0] = True
    made = findings(strong)
    made.write(tmp_path / "store.zarr")
    (only,) = read_findings(made.run, tmp_path / "store.zarr").statements
    assert only.headline == "v0* answers to all 4 classes alike"
    assert (only.next_class, only.others) == ("", ())


def test_many_classes_are_told_in_a_short_sentence(tmp_path):
    strong = np.zeros((1, 40, 4), dtype=bool)
    strong[0, :30, 0] = strong[0, :20, 1] = True
    made = findings(strong, images=80)
    made.write(tmp_path / "store.zarr")
    few, most = read_findings(made.run, tmp_path / "store.zarr").statements
    assert few.headline.endswith("and 16 more")
    assert "all of the 40 classes but" in most.headline
    assert most.headline.endswith("and 6 more")


def test_the_conclusion_says_where_vectors_stand_out_and_where_not():
    stored = controls()
    plain = conclusion(stored.sel(layer=["plain", "poor"]))
    assert plain.sentence.startswith("Random rotations of the same outputs do as well")
    assert "in 0 of 2 layers" in plain.sentence
    assert not plain.supported
    several = xr.concat([stored.sel(layer=["special"])] * 5, dim="layer")
    supported = conclusion(several)
    assert supported.supported
    assert "at or beyond the 95th percentile of random rotations in 5 of 5" in supported.sentence
    alone = conclusion(stored.sel(layer=["rank one"]))
    assert alone.sentence.startswith("There are no random rotations")
    assert (alone.supported, alone.removals) == (False, "")


def test_names_are_listed_as_in_a_sentence():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcde")) == "a, b, c, d and e"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed([]) == ""


def test_addresses_encode_what_is_odd():
    assert layer_address("features.20") == "features.20"
    assert vector_address("a/b #1", 85) == "a%2Fb%20%231/v85"
    assert class_address("cat/dog ü") == "class/cat%2Fdog%20%C3%BC"
