"""The cube and the statistics over positions are written, marked and missed by one rule."""

import shutil

import numpy as np
import pytest
import xarray as xr

from ddp_tasks.store import groups, shard_marks, sharded_group
from ddp_tasks.store.marks import DamagedStoreError
from schemas.variables import SchemaError

IMAGES, LAYERS, VECTORS, BLOCK, CHUNK = 10, 2, 5, 4, 2
SHARDS = [(0, slice(0, 4)), (1, slice(4, 8)), (2, slice(8, 10))]
#: Arrays of signals of each group; the cube's own checksums lie beside it.
GROUPS = {
    "signals": ["signal"],
    "spatial": ["maximum", "minimum", "share_above", "share_below"],
}


@pytest.fixture(params=GROUPS)
def folder(request, tmp_path):
    """An empty group of three shards, the last of two images."""
    coordinates = {
        "image": np.array([f"image {i}" for i in range(IMAGES)], dtype=object),
        "layer": np.array(["conv", "fc"], dtype=object),
        "singular_vector": np.arange(VECTORS),
    }
    groups.write_coordinates(tmp_path, request.param, xr.Dataset(coords=coordinates))
    shape = (IMAGES, LAYERS, VECTORS)
    template = sharded_group.signals_template(shape, BLOCK, CHUNK)
    templates = dict.fromkeys(GROUPS[request.param], template)
    if request.param == "signals":
        templates["checksum"] = sharded_group.checksum_template(template)
    sharded_group.create_arrays(tmp_path, request.param, templates, len(SHARDS))
    return tmp_path / request.param


def rows(folder, images, seed=0):
    random = np.random.default_rng(seed)
    found = {}
    for name in GROUPS[folder.name]:
        shape = (images.stop - images.start, LAYERS, VECTORS)
        found[name] = random.normal(size=shape).astype(np.float32)
        found[name][:, 1, 3:] = np.nan
    return found


def missing(folder):
    return [index for index, _ in SHARDS if shard_marks.damage(folder, index)]


@pytest.fixture
def written(folder):
    for index, images in SHARDS:
        sharded_group.write_shard(folder, index, images, rows(folder, images, index))
    return folder


def test_shards_are_missing_until_they_are_written(folder):
    assert missing(folder) == [0, 1, 2]
    index, images = SHARDS[1]
    sharded_group.write_shard(folder, index, images, rows(folder, images))
    assert missing(folder) == [0, 2]


def test_plain_xarray_reads_what_is_written(written):
    stored = xr.open_zarr(written, consolidated=False)
    for name in GROUPS[written.name]:
        expected = [rows(written, images, index)[name] for index, images in SHARDS]
        np.testing.assert_array_equal(stored[name].to_numpy(), np.concatenate(expected))
    assert (stored["complete"].to_numpy() > 0).all()


def test_a_shard_written_twice_is_the_shard_written_once(written):
    index, images = SHARDS[2]
    before = {p: p.read_bytes() for p in written.rglob("*") if p.is_file()}
    sharded_group.write_shard(written, index, images, rows(written, images, seed=9))
    sharded_group.write_shard(written, index, images, rows(written, images, index))
    assert {p: p.read_bytes() for p in written.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("damage", ["gone", "cut", "another's"])
def test_damaged_files_are_missed_and_written_anew(written, damage):
    index, images = SHARDS[1]
    # What a group lists are all files but those of the cube's signals, which its checksums tell.
    listed = {"signals": ["checksum"], "spatial": GROUPS["spatial"]}[written.name]
    for name in listed:
        file = shard_marks.shard_file(written, name, index)
        whole = file.read_bytes()
        if damage == "gone":
            file.unlink()
        elif damage == "cut":
            file.write_bytes(whole[:-3])
        else:
            shutil.copy(shard_marks.shard_file(written, name, 0), file)
        assert missing(written) == [index]
        with pytest.raises(DamagedStoreError, match=r"shard 1 of .* is not as it was written"):
            shard_marks.check(written, index)
        sharded_group.write_shard(written, index, images, rows(written, images, index))
        assert file.read_bytes() == whole
        assert missing(written) == []


def test_images_of_which_nothing_is_known_take_no_room(written):
    index, images = SHARDS[0]
    empty = sharded_group.empty_rows(written, images.stop - images.start)
    assert set(empty) == set(GROUPS[written.name])
    assert all(np.isnan(values).all() for values in empty.values())
    sharded_group.write_shard(written, index, images, empty)
    assert missing(written) == []
    assert all(shard_marks.shard_file(written, name, index) is None for name in empty)


def test_rows_of_another_shape_or_name_are_refused(written):
    index, images = SHARDS[2]
    with pytest.raises(SchemaError, match=r"of shard 2 has shape \(4, 2, 5\), not \(2, 2, 5\)"):
        sharded_group.write_shard(written, index, images, rows(written, slice(0, 4)))
    with pytest.raises(SchemaError, match="has the arrays"):
        sharded_group.write_shard(written, index, images, {"other": np.zeros(2)})


def test_what_a_killed_process_left_is_cleared(written):
    before = sorted(written.rglob("*"))
    name = GROUPS[written.name][0]
    (written / f"{name}/c/0/0/.ddp-0123456789abcdef.part").write_bytes(b"half")
    (written / f"complete/c/0.{'0' * 32}.partial").write_bytes(b"half")
    assert sharded_group.clear_partial_files(written) == 2
    assert sorted(written.rglob("*")) == before
