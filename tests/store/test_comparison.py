"""Two stores compared bit for bit: each kind of difference by hand, and all by property."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stored_cubes import stored
from strategies import cubes

from ddp_tasks.store.comparison import _blocks, compare_stores, differing
from schemas.parameters import RunError


@pytest.fixture
def pair(tmp_path):
    """Write two groups ``layers`` of one store each; the differences between them."""

    def compare(one, other, **options):
        paths = [tmp_path / name for name in ("a", "b")]
        for path, dataset in zip(paths, (one, other), strict=True):
            dataset.to_zarr(path, group="layers", zarr_format=3, consolidated=False)
        return [str(d) for d in compare_stores(*paths, lambda _: None, **options)]

    return compare


def dataset(values, **attributes):
    values = np.asarray(values)
    labels = np.array([f"conv{i}" for i in range(len(values))], dtype=object)
    return xr.Dataset({"value": ("layer", values, attributes)}, coords={"layer": labels})


def test_nan_equals_nan_and_the_same_store_has_no_difference(pair):
    values = [np.nan, np.inf, -np.inf, 1.0, -0.0]
    assert pair(dataset(values), dataset(values)) == []


def test_how_many_by_how_much_and_where_first(pair):
    one, other = [1.0, 2.0, 3.0, np.nan], [1.0, 2.5, 2.0, np.nan]
    assert pair(dataset(one), dataset(other)) == [
        "layers/value: 2 of 4 values differ, by at most 1; "
        "the first at layer=conv1 (2.0 against 2.5)"
    ]


def test_a_nan_in_one_alone_and_the_sign_of_zero_are_differences(pair):
    assert pair(dataset([0.0, np.nan, 1.0]), dataset([0.0, 5.0, 1.5])) == [
        "layers/value: 2 of 3 values differ, 1 of them NaN in one alone, by at most 0.5; "
        "the first at layer=conv1 (nan against 5.0)"
    ]


def test_the_sign_of_zero_differs_in_bits_alone(pair):
    assert pair(dataset([0.0]), dataset([-0.0])) == [
        "layers/value: 1 of 1 values differ, in bits alone; the first at layer=conv0 "
        "(0.0 against -0.0)"
    ]


def test_words_and_truth_values_are_compared_too(pair):
    one = dataset([True, False]).assign(word=("layer", np.array(["a", "b"], dtype=object)))
    other = dataset([True, True]).assign(word=("layer", np.array(["a", "c"], dtype=object)))
    assert pair(one, other) == [
        "layers/value: 1 of 2 values differ; the first at layer=conv1 (False against True)",
        "layers/word: 1 of 2 values differ; the first at layer=conv1 ('b' against 'c')",
    ]


def test_a_number_of_no_dimension_is_compared(pair):
    one, other = xr.Dataset({"empty": ((), 3)}), xr.Dataset({"empty": ((), 5)})
    assert pair(one, other) == [
        "layers/empty: 1 of 1 values differ, by at most 2; the first (3 against 5)"
    ]


def test_shape_and_type_and_dimensions_are_named(pair):
    a = xr.Dataset({"p": ("x", np.zeros(2)), "q": ("x", np.zeros(2)), "r": (("y", "z"), [[1]])})
    b = xr.Dataset(
        {"p": ("w", np.zeros(3)), "q": ("x", np.zeros(2, np.float32)), "r": (("y", "u"), [[1]])}
    )
    assert pair(a, b) == [
        "layers/p: has dimensions (x) against (w)",
        "layers/q: has dtype float64 against float32",
        "layers/r: has dimensions (y, z) against (y, u)",
    ]


def test_what_is_in_one_only_is_one_line(tmp_path, pair):
    both = dataset([1.0])
    assert pair(both.assign(rank=("layer", [3])), both) == [
        f"layers/rank: is in {tmp_path / 'a'} only"
    ]
    both.to_zarr(tmp_path / "b", group="family/deep", zarr_format=3, consolidated=False)
    assert [str(d) for d in compare_stores(tmp_path / "a", tmp_path / "b", lambda _: None)] == [
        f"family: is in {tmp_path / 'b'} only",
        f"layers/rank: is in {tmp_path / 'a'} only",
    ]


def test_words_about_an_array_are_notes_and_other_attributes_results(tmp_path):
    for name, attributes in (("a", {"batch_norm": "bn1"}), ("b", {"batch_norm": ""})):
        data = dataset([1.0], long_name=f"as {name} says").assign_attrs(attributes)
        data.to_zarr(tmp_path / name, group="layers", zarr_format=3, consolidated=False)
        root = zarr.open_group(store=tmp_path / name, mode="a")
        root.attrs["run_parameters"] = json.dumps({"name": name, "images": {"per_class": 5}})
    found = list(compare_stores(tmp_path / "a", tmp_path / "b", lambda _: None))
    assert [(str(d), d.of_results) for d in found] == [
        ('/ run_parameters: name "a" against "b"', False),
        ('layers batch_norm: "bn1" against ""', True),
        ('layers/value long_name: "as a says" against "as b says"', False),
    ]


@settings(max_examples=8)
@given(cube=cubes())
def test_the_cut_into_shards_is_no_difference_of_results(tmp_path_factory, cube):
    folder = tmp_path_factory.mktemp("cut")
    images = len(cube.signals)
    stored(folder / "a", cube, max(1, images // 2))
    stored(folder / "b", cube, images)
    found = compare_stores(folder / "a", folder / "b", lambda _: None, block=64)
    assert [str(d) for d in found if d.of_results] == []


@settings(max_examples=25)
@given(data=st.data())
def test_as_many_values_differ_as_a_loop_over_bits_counts(tmp_path_factory, data):
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int16, np.uint64, np.bool_]))
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=7))
    one = data.draw(hnp.arrays(dtype, shape))
    other = np.where(
        data.draw(hnp.arrays(np.bool_, shape)), one, data.draw(hnp.arrays(dtype, shape))
    )
    chunks = [data.draw(st.tuples(*(st.integers(1, side) for side in shape))) for _ in "ab"]
    folder = tmp_path_factory.mktemp("bits")
    for name, values, cut in zip("ab", (one, other), chunks, strict=True):
        group = zarr.open_group(store=folder / name, mode="w", zarr_format=3)
        group.create_array("x", data=values, chunks=cut)
    block = data.draw(st.sampled_from([1, 64, 1 << 20]))
    found = [str(d) for d in compare_stores(folder / "a", folder / "b", lambda _: None, block)]
    pairs = {
        index: (one[index], other[index])
        for index in np.ndindex(shape)
        if one[index].tobytes() != other[index].tobytes()
    }
    assert len(found) == bool(pairs)
    if pairs:
        first = min(pairs)
        place = ", ".join(f"?={i}" for i in first)
        assert found[0].startswith(f"x: {len(pairs)} of {one.size} values differ")
        left, right = pairs[first]
        assert found[0].endswith(f"; the first at {place} ({left!s} against {right!s})")


@given(
    shape=hnp.array_shapes(max_dims=3, max_side=20),
    data=st.data(),
    block=st.integers(1, 2000),
)
def test_blocks_cover_every_value_once_and_stay_small(shape, data, block):
    chunks = data.draw(st.tuples(*(st.integers(1, side) for side in shape)))
    array = zarr.create_array(store={}, shape=shape, chunks=chunks, dtype="float64")
    covered = np.zeros(shape, int)
    for region in _blocks(array, block):
        covered[region] += 1
        assert covered[region].nbytes <= max(block, 8 * np.prod(chunks))
    assert (covered == 1).all()


def test_contents_of_json_differ_by_value_and_by_type():
    a = {"x": [1, {"y": None}], "z": {}, "same": "s"}
    assert differing(a, a) == {}
    assert differing(a, {"x": [1.0, {"y": None}, True], "z": {"k": 2}, "same": "s"}) == {
        ".x[0]": ("1", "1.0"),
        ".x[2]": ("nothing", "true"),
        ".z": ("{}", "nothing"),
        ".z.k": ("nothing", "2"),
    }


def test_a_chunk_that_cannot_be_read_is_a_difference(tmp_path, pair):
    assert pair(dataset([1.0, 2.0]), dataset([1.0, 2.0])) == []
    (tmp_path / "a/layers/value/c/0").write_bytes(b"no chunk")
    (found,) = compare_stores(tmp_path / "a", tmp_path / "b", lambda _: None)
    assert str(found).startswith("layers/value: cannot be read: ")


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(RunError, match="cannot be opened as a Zarr group"):
        list(compare_stores(tmp_path, tmp_path, lambda _: None))
