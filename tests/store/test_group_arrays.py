"""Groups written at once, against xarray's own writing."""

import hashlib

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from ddp_tasks.store.group_arrays import COMPRESSORS, write_arrays


def _files(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def _by_xarray(path, group, dataset, **encoding):
    encoding = {
        str(name): {"compressors": COMPRESSORS, **{k: v(array) for k, v in encoding.items()}}
        for name, array in dataset.variables.items()
    }
    dataset.to_zarr(
        path, group=group, mode="w", zarr_format=3, consolidated=False, encoding=encoding
    )


def _dataset(rng):
    texts = np.array(["a", "", "sähköä", "long" * 40], dtype=object)
    return xr.Dataset(
        {
            "number": (("row", "column"), rng.normal(size=(4, 3)), {"units": "1"}),
            "single": ("row", np.array([1, np.nan, np.inf, 0], dtype=np.float32)),
            "count": ("row", np.arange(4), {"source": "Eq. 15"}),
            "flag": (("row", "column"), rng.random((4, 3)) > 0.5),
            "text": ("row", texts),
            "scalar": ((), 2.5),
            "name": ((), np.array("one", dtype=object)),
            "none": ("empty", np.zeros(0)),
        },
        coords={"row": np.array(["w", "x", "y", "z"], dtype=object), "kind": ("row", texts)},
        attrs={"meaning": "a test", "images": np.int64(3)},
    )


def test_every_file_is_the_one_that_xarray_writes(tmp_path):
    dataset = _dataset(np.random.default_rng(0))
    _by_xarray(tmp_path / "a", "some/group", dataset)
    write_arrays(tmp_path / "b", "some/group", dataset)
    assert len(_files(tmp_path / "a")) > 12
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_arrays_that_zarr_cuts_are_cut_alike_unless_asked(tmp_path):
    large = xr.Dataset({"value": (("row", "column"), np.arange(3e6).reshape(3000, 1000))})
    _by_xarray(tmp_path / "a", "group", large)
    write_arrays(tmp_path / "b", "group", large)
    assert len(_files(tmp_path / "a")) > 4
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    _by_xarray(tmp_path / "c", "group", large, chunks=lambda array: array.shape)
    write_arrays(tmp_path / "d", "group", large, one_file_each=True)
    assert _files(tmp_path / "c") == _files(tmp_path / "d")
    assert len(_files(tmp_path / "d")) == 4


@settings(max_examples=25, deadline=None)
@given(
    of_numpy.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_]),
        of_numpy.array_shapes(max_dims=3, max_side=4),
    )
)
def test_what_is_written_is_read(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("store")
    dims = [f"dim_{i}" for i in range(values.ndim)]
    write_arrays(path, "group", xr.Dataset({"value": (dims, values)}))
    read = xr.open_zarr(path, group="group", consolidated=False, chunks=None)
    np.testing.assert_array_equal(read["value"].to_numpy(), values)
    assert read["value"].dtype == values.dtype


def test_what_is_still_to_be_read_is_written(tmp_path):
    write_arrays(tmp_path / "a", "group", xr.Dataset({"value": ("row", np.arange(5.0))}))
    unread = xr.open_zarr(tmp_path / "a", group="group", consolidated=False, chunks=None)
    write_arrays(tmp_path / "b", "group", unread)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
