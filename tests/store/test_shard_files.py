from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec

from ddp_tasks.store import shard_marks
from ddp_tasks.store.marks import DamagedStoreError, set_mark
from ddp_tasks.store.shard_files import ShardFiles


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


def made(folder, block, chunk, signals, by_zarr=True):
    """The same cube for Zarr and for this module, its shards written by one of them and marked."""
    _, layers, vectors = signals.shape
    chunks = -(-vectors // chunk)
    group = zarr.open_group(store=folder, mode="w", zarr_format=3)
    array = group.create_array(
        "signal",
        shape=signals.shape,
        chunks=(block, 1, chunk),
        shards=(block, layers, chunks * chunk),
        dtype="float32",
        fill_value=float("nan"),
        compressors=Crc32cCodec(),
    )
    count = -(-len(signals) // block)
    numbers = {"fill_value": 0, "compressors": Crc32cCodec()}
    checksum = group.create_array(
        "checksum",
        shape=(count, layers, chunks),
        chunks=(1, layers, chunks),
        dtype="uint32",
        **numbers,
    )
    complete = group.create_array("complete", shape=count, chunks=1, dtype="int64", **numbers)
    names = ["signal", "checksum", "complete"]
    set_mark(folder, by_shard=names)
    files = ShardFiles(folder, block, layers, vectors, chunk)
    if by_zarr:
        array[:] = signals
    for shard in range(count):
        rows = signals[shard * block : (shard + 1) * block]
        if by_zarr:
            checksum[shard] = checksums(rows, block, chunk)
        else:
            np.testing.assert_array_equal(files.write(shard, rows), checksums(rows, block, chunk))
            row = checksums(rows, block, chunk)[None]
            shard_marks.write_numbers(folder, "checksum", shard, row)
        complete[shard] = shard_marks.digest(folder, names, shard)
    return array, files


def checksums(rows, block, chunk):
    """CRC-32C of every chunk of a shard, as Zarr's format has it: filled up with NaN, 0 if empty.

    Shape (layers, chunks).
    """
    images, layers, vectors = rows.shape
    chunks = -(-vectors // chunk)
    padded = np.full((block, layers, chunks * chunk), np.nan, dtype="<f4")
    padded[:images, :, :vectors] = rows
    found = np.zeros((layers, chunks), dtype=np.uint32)
    for layer, place in np.ndindex(layers, chunks):
        part = padded[:, layer, place * chunk : (place + 1) * chunk]
        if not np.isnan(part).all():
            found[layer, place] = google_crc32c.value(part.tobytes())
    return found


def shards(block, images):
    return enumerate(range(0, images, block))


@pytest.mark.slow
@pytest.mark.parametrize("by_zarr", [True, False])
@given(cubes_in_shards(), st.data())
def test_what_zarr_or_this_module_writes_is_read_here_in_any_part(
    tmp_path_factory, by_zarr, cut, data
):
    block, _, signals = cut
    _, files = made(tmp_path_factory.mktemp("cube"), *cut, by_zarr)
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


@pytest.mark.slow
@given(cubes_in_shards())
def test_what_is_written_here_is_read_by_zarr_and_takes_as_much_room(tmp_path_factory, cut):
    array, files = made(tmp_path_factory.mktemp("cube"), *cut, by_zarr=False)
    np.testing.assert_array_equal(array[:], cut[2])
    reference = tmp_path_factory.mktemp("cube")
    of_zarr, _ = made(reference, *cut)
    np.testing.assert_array_equal(of_zarr[:], cut[2])
    for shard, _ in shards(cut[0], len(cut[2])):
        ours, theirs = files.path(shard), reference / files.path(shard).relative_to(files.folder)
        # Chunks lie in another order.
        assert ours.exists() == theirs.exists()
        assert not ours.exists() or ours.stat().st_size == theirs.stat().st_size
    numbers = [
        {p.relative_to(f): p.read_bytes() for p in (f / "checksum").rglob("*") if p.is_file()}
        for f in (files.folder, reference)
    ]
    assert numbers[0] == numbers[1]


def test_a_shard_written_over_another_leaves_nothing_of_it(tmp_path):
    signals = np.arange(48, dtype=np.float32).reshape(6, 2, 4)
    array, files = made(tmp_path / "cube", 3, 2, signals, by_zarr=False)
    part = signals[:3].copy()
    part[:, 0] = np.nan
    assert (files.write(0, part)[0] == 0).all()
    np.testing.assert_array_equal(array[:3], part)
    files.write(0, np.full_like(part, np.nan))
    assert not files.path(0).exists()
    assert np.isnan(array[:3]).all()
    np.testing.assert_array_equal(array[3:], signals[3:])


@pytest.fixture
def written(tmp_path):
    signals = np.arange(48, dtype=np.float32).reshape(6, 2, 4)
    signals[:, 1, 2:] = np.nan
    return made(tmp_path / "cube", 3, 2, signals)[1]


def _read(files, shard=0, layer=0):
    found = np.zeros((3, 4), dtype=np.float32)
    files.read(shard, slice(0, 3), layer, slice(0, 4), found)
    return found


def test_what_lies_past_a_layers_rank_is_nan(written):
    assert np.isnan(_read(written, layer=1)[:, 2:]).all()
    assert not np.isnan(_read(written, layer=1)[:, :2]).any()


def test_a_shard_that_is_not_written_is_refused_by_name(written):
    (written.folder / "complete/c/1").unlink()
    with pytest.raises(DamagedStoreError, match=r"shard 1 of .* is not written"):
        _read(written, shard=1)
    assert not np.isnan(_read(written)).any()


def _damaged(content, kind, other):
    """Contents of a file after a damage; None for a file that is gone."""
    half = len(content) // 2
    if kind == "gone":
        return None
    if kind == "other's":
        return other
    if kind == "longer":
        return content + b"more"
    if kind == "zeroed":
        return content[: half // 2] + bytes(half) + content[half // 2 + half :]
    if kind.startswith("cut"):
        return content[: int(len(content) * float(kind[4:]))]
    place = int(len(content) * float(kind[5:]))
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["signal/c/0/0/0", "checksum/c/0/0/0", "complete/c/0"])
@pytest.mark.parametrize(
    "kind",
    [
        *("gone", "other's", "longer", "zeroed", "cut 0", "cut 0.3", "cut 0.97"),
        *(f"flip {place}" for place in (0, 0.2, 0.5, 0.7, 0.9, 0.99)),
    ],
)
def test_a_damaged_file_is_refused_or_reads_as_before(written, name, kind):
    before = [_read(written, layer=layer) for layer in range(2)]
    file = written.folder / name
    other = Path(str(file).replace("/c/0", "/c/1"))
    content = _damaged(file.read_bytes(), kind, other.read_bytes())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    refused = 0
    for layer in range(2):
        try:
            np.testing.assert_array_equal(_read(written, layer=layer), before[layer])
        except DamagedStoreError:
            refused += 1

    # Padding past the end of a file, and of a layer that was not asked for, harms nobody.
    assert refused or kind == "longer"
    np.testing.assert_array_equal(_read(written, shard=1).ravel()[0], 24)
