import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.shard_files import DamagedShardError, ShardFiles


@st.composite
def cubes_in_shards(draw):
    """The cut of a cube, and its signals: random ranks, chunks that do not divide anything."""
    block, layers = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    vectors, chunk = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    images = draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    signals = random.normal(size=(images, layers, vectors)).astype(np.float32)
    for layer in range(layers):
        signals[:, layer, draw(st.integers(0, vectors)) :] = np.nan
    return block, chunk, signals


def made(folder, block, chunk, signals):
    """The same cube for Zarr and for this module."""
    _, layers, vectors = signals.shape
    array = zarr.create_array(
        store=folder,
        shape=signals.shape,
        chunks=(block, 1, chunk),
        shards=(block, layers, -(-vectors // chunk) * chunk),
        dtype="float32",
        fill_value=float("nan"),
        compressors=None,
        overwrite=True,
    )
    return array, ShardFiles(folder / "c", block, layers, vectors, chunk)


def shards(block, images):
    return enumerate(range(0, images, block))


@given(cubes_in_shards(), st.data())
def test_what_zarr_writes_is_read_here_in_any_part(tmp_path_factory, cut, data):
    block, _, signals = cut
    array, files = made(tmp_path_factory.mktemp("cube"), *cut)
    array[:] = signals
    shard, start = data.draw(st.sampled_from(list(shards(block, len(signals)))))
    of_shard = signals[start : start + block]
    first = data.draw(st.integers(0, len(of_shard) - 1))
    rows = slice(first, data.draw(st.integers(first + 1, len(of_shard))))
    first = data.draw(st.integers(0, files.vectors - 1))
    vectors = slice(first, data.draw(st.integers(first + 1, files.vectors)))
    layer = data.draw(st.integers(0, files.layers - 1))
    found = np.zeros((rows.stop - rows.start, vectors.stop - vectors.start), dtype=np.float32)
    files.read(shard, rows, layer, vectors, found)
    np.testing.assert_array_equal(found, of_shard[rows, layer, vectors])


@pytest.fixture
def written(tmp_path):
    signals = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    array, files = made(tmp_path / "cube", 3, 2, signals)
    array[:] = signals
    return files


def _read(files, shard=0):
    found = np.zeros((3, 4), dtype=np.float32)
    files.read(shard, slice(0, 3), 0, slice(0, 4), found)
    return found


def test_a_shard_that_is_not_written_is_nan(written):
    assert np.isnan(_read(written, shard=1)).all()


@pytest.mark.parametrize("left", [0, 3, 40, 120])
def test_a_file_that_is_cut_off_is_refused_by_name(written, left):
    path = written.path(0)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DamagedShardError, match=r"shard 0: .*is not as it was written"):
        _read(written)


def test_a_file_that_lost_its_beginning_is_refused(written):
    # The index is whole and names places beyond what is left before it.
    path = written.path(0)
    path.write_bytes(path.read_bytes()[-70:])
    with pytest.raises(DamagedShardError, match=r"shard 0: .*is cut off"):
        _read(written)
