import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from runs import tiny_run
from stored_cubes import stored
from strategies import Cube

from ddp_tasks.networks.decomposition import (
    decomposition_dataset,
    layer_coordinates,
    layers_dataset,
)
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.significance.significance import ClassFractions, tables_dataset
from ddp_tasks.store import creation, regions, shards, wholeness
from ddp_tasks.store import cube as cubes
from ddp_tasks.store import groups as store
from ddp_tasks.store.identity import Identity
from ddp_tasks.store.marks import DamagedStoreError, set_root_mark
from ddp_tasks.store.slabs import vectors_per_chunk
from ddp_tasks.weights.tensor_svd import decompose
from schemas import SchemaError
from schemas.parameters import RunError
from schemas.variables import describe

LAYERS = (
    LinearLayer("conv", "conv", 1, "Conv2d", (4, 2, 3, 3), 1),
    LinearLayer("fc", "fc", 1, "Linear", (3, 4), 1),
)
IMAGES = 10


def datasets():
    generator = torch.Generator().manual_seed(0)
    svd = {
        "conv": decompose(torch.randn(4, 18, generator=generator)),
        "fc": decompose(torch.randn(3, 4, generator=generator)),
    }
    groups = {"layers": layers_dataset(LAYERS, svd)}
    groups |= {f"decomposition/{n}": decomposition_dataset(d, "auto") for n, d in svd.items()}
    signals = xr.Dataset(
        {
            "target": ("image", np.arange(IMAGES) % 2),
            "dataset_index": ("image", np.arange(IMAGES)),
        },
        coords={
            "image": np.array([f"{i:02}" for i in range(IMAGES)], dtype=object),
            "target_class": np.array(["a", "b"], dtype=object),
            **layer_coordinates(LAYERS, 4),
        },
    )
    return groups, signals


def identity(run, model="m", images="i"):
    return Identity.of_run(run, model, images)


@pytest.fixture
def made(tmp_path):
    run = tiny_run(shards={"images": 4})
    groups, signals = datasets()
    path = tmp_path / "store.zarr"
    creation.create(path, run, identity(run), not_analysed={}, groups=groups, signals=signals)
    return path


def rows(shard, seed=0):
    random = np.random.default_rng(seed + shard.index)
    signal = random.normal(size=(len(shard), 2, 4)).astype(np.float32)
    signal[:, 1, 3:] = np.nan
    return {
        "signal": signal,
        "predicted": np.zeros(len(shard), dtype=np.int64),
        "confidence": np.ones(len(shard), dtype=np.float32),
        "error": np.full(len(shard), "", dtype=object),
        "content_size": np.full(len(shard), 512, dtype=np.int64),
        "content_digest": np.full(len(shard), 1 + seed, dtype=np.uint64),
    }


def test_shards_cover_the_images_once_and_are_missing_at_first(made):
    blocks = shards.shards(made)
    assert [(s.start, s.stop) for s in blocks] == [(0, 4), (4, 8), (8, 10)]
    assert shards.missing_shards(made) == blocks


def test_what_is_written_is_read_back_whole_and_by_layer(made):
    for shard in shards.shards(made):
        shards.write_shard(made, shard, rows(shard))
    expected = np.concatenate([rows(s)["signal"] for s in shards.shards(made)])
    assert shards.missing_shards(made) == []
    for layer, rank in enumerate((4, 3)):
        parts = list(cubes.layer_parts(made, layer, rank))
        signal, target = (np.concatenate(part) for part in zip(*parts, strict=True))
        np.testing.assert_array_equal(signal, expected[:, layer, :rank])
        np.testing.assert_array_equal(target, np.arange(IMAGES) % 2)
    np.testing.assert_array_equal(store.read(made, "signals")["signal"].to_numpy(), expected)


def test_a_shard_written_twice_is_the_shard_written_once(made):
    shard = shards.shards(made)[1]
    shards.write_shard(made, shard, rows(shard, seed=7))
    shards.write_shard(made, shard, rows(shard))
    written = store.read(made, "signals")["signal"][shard.start : shard.stop]
    np.testing.assert_array_equal(written, rows(shard)["signal"])


def test_images_are_grouped_by_the_names_of_their_classes_in_plain_xarray(made):
    # -1 is of no class, and the network has outputs that no image belongs to.
    predicted = np.where(np.arange(IMAGES) == 9, 7, np.arange(IMAGES) % 3 - 1)
    for shard in shards.shards(made):
        chosen = predicted[shard.start : shard.stop]
        shards.write_shard(made, shard, {**rows(shard), "predicted": chosen})
    store.seal(made)
    signals = xr.open_datatree(made, engine="zarr")["signals"].ds
    assert {"target_name", "predicted_name"} <= set(signals.coords)
    signal = signals["signal"].sel(layer="conv", singular_vector=1)
    means = signal.groupby("target_name").mean()
    for number, name in enumerate("ab"):
        of_class = signal[signals["target"].to_numpy() == number]
        assert means.sel(target_name=name).item() == pytest.approx(of_class.to_numpy().mean())
    names = [{-1: "", 0: "a", 1: "b", 7: "output 7"}[number] for number in predicted.tolist()]
    assert signals["predicted_name"].to_numpy().tolist() == names
    counted = signals["confidence"].groupby("predicted_name").count()
    assert counted.to_series().to_dict() == {"": 3, "a": 3, "b": 3, "output 7": 1}


def test_signals_that_are_not_written_are_no_fill_values(made):
    shard = shards.shards(made)[1]
    shards.write_shard(made, shard, rows(shard))
    signals = store.read(made, "signals")
    for name in ("signal", "predicted", "error"):
        signals[name][shard.start : shard.stop].load()
        with pytest.raises(DamagedStoreError, match=r"shard 0 of .* is not written"):
            signals[name].load()
    with pytest.raises(DamagedStoreError, match=r"shard 0 of .* is not written"):
        list(cubes.layer_parts(made, 0, 4))


def test_a_shard_that_was_only_half_written_still_counts_as_missing(made):
    shard = shards.shards(made)[0]
    arrays = rows(shard)
    # Half of a character cannot be stored: it ends the writing in the middle.
    arrays["error"][0] = "\ud800"
    with pytest.raises(UnicodeEncodeError):
        shards.write_shard(made, shard, arrays)
    assert shard_file(made, shard).exists()
    assert shard in shards.missing_shards(made)
    shards.write_shard(made, shard, rows(shard))
    assert shard not in shards.missing_shards(made)


def test_rows_that_do_not_fit_are_refused_before_anything_is_written(made):
    shard = shards.shards(made)[0]
    arrays = rows(shard)
    with pytest.raises(SchemaError, match="confidence of shard 0 has shape"):
        shards.write_shard(made, shard, {**arrays, "confidence": arrays["confidence"][:-1]})
    with pytest.raises(SchemaError, match=r"signals has the arrays .*, not \[\]"):
        shards.write_shard(made, shard, {})
    assert not shard_file(made, shard).exists()


def test_a_shard_across_the_edges_of_chunks_is_refused(made):
    crossing = shards.Shard(0, 2, 6)
    with pytest.raises(SchemaError, match="crosses the edges"):
        shards.write_shard(made, crossing, rows(crossing))


VGG16 = [64, 64, 128, 128, 256, 256, 256, *[512] * 6, 4096, 4096, 1000]
RESNET20 = [*[16] * 7, *[32] * 6, *[64] * 6, 10]


@pytest.mark.parametrize("ranks", [VGG16, RESNET20, [300, 7]], ids=["vgg16", "resnet20", "odd"])
def test_a_cube_takes_little_more_than_its_signals(tmp_path, ranks):
    # 64 KB for a shard's index of at most 4,096 chunks.
    path = tmp_path / "store.zarr"
    signal = np.full((2, len(ranks), max(ranks)), np.nan, dtype=np.float32)
    for layer, rank in enumerate(ranks):
        signal[:, layer, :rank] = np.random.default_rng(layer).normal(size=(2, rank))
    stored(path, Cube(signal, np.zeros(2, dtype=int), tuple(ranks), 1, ()), block=2)
    written = sum(f.stat().st_size for f in (path / "signals/signal/c").rglob("*") if f.is_file())
    assert written <= 1.08 * 4 * np.isfinite(signal).sum() + 2**16
    np.testing.assert_array_equal(store.read(path, "signals")["signal"].to_numpy(), signal)


def test_chunks_are_as_wide_as_padding_allows():
    assert vectors_per_chunk(VGG16) == 256
    assert vectors_per_chunk([512, 512]) == 256
    assert vectors_per_chunk(RESNET20) == 16
    assert vectors_per_chunk([3]) == 8


def test_a_store_that_exists_is_never_created_over(made):
    run = tiny_run(shards={"images": 4})
    groups, signals = datasets()
    before = store.root_attributes(made)
    with pytest.raises(FileExistsError):
        creation.create(made, run, identity(run), not_analysed={}, groups=groups, signals=signals)
    assert store.root_attributes(made) == before


@pytest.mark.parametrize(
    ("changes", "digests", "named"),
    [
        ({"significance": {"quantile": 0.5}}, {}, "significance.quantile is 0.8 there and 0.5"),
        ({"layers": ["conv"]}, {}, "layers is 'all' there and"),
        ({}, {"model": "other"}, "weights differ"),
        ({}, {"images": "other"}, "images differ"),
    ],
)
def test_a_store_of_another_run_is_refused_by_name(made, changes, digests, named):
    run = tiny_run(**{"shards": {"images": 4}, **changes})
    with pytest.raises(RunError, match="was made by another run") as refusal:
        wholeness.check_continuable(made, identity(run, **digests))
    assert named in str(refusal.value)


def test_another_cluster_batch_size_or_place_of_the_weights_continues(made):
    run = tiny_run(shards={"images": 4, "batch_size": 1, "patience": 3}, cluster="auto")
    wholeness.check_continuable(made, identity(run))


def test_a_run_that_leaves_the_shards_open_takes_those_of_the_store(made):
    wholeness.check_continuable(made, identity(tiny_run(shards={})))
    assert [len(shard) for shard in shards.shards(made)] == [4, 4, 2]
    with pytest.raises(RunError, match=r"shards\.images is 4 there and 5 here"):
        wholeness.check_continuable(made, identity(tiny_run(shards={"images": 5})))


def test_a_store_is_not_cut_before_the_shards_are_chosen(tmp_path):
    run = tiny_run(shards={})
    groups, signals = datasets()
    path = tmp_path / "store.zarr"
    with pytest.raises(ValueError, match="must be chosen"):
        creation.create(path, run, identity(run), not_analysed={}, groups=groups, signals=signals)
    assert not path.exists()


def shard_file(path, shard):
    return path / f"signals/signal/c/{shard.index}/0/0"


def test_a_shard_whose_file_is_cut_off_or_gone_is_missing_though_it_is_recorded(made):
    first, second, third = shards.shards(made)
    for shard in (first, second, third):
        shards.write_shard(made, shard, rows(shard))
    whole = shard_file(made, first).read_bytes()
    damaged = lambda: [s for s in shards.shards(made) if shards.damaged_signals(made, s)]  # noqa: E731
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        shard_file(made, first).write_bytes(whole[:length])
        assert damaged() == [first]
        shards.write_shard(made, first, rows(first))
        assert shard_file(made, first).read_bytes() == whole
        assert damaged() == []
    shard_file(made, first).write_bytes(whole[:-1])
    shard_file(made, third).unlink()
    assert damaged() == [first, third]
    shard_file(made, first).write_bytes(whole)
    assert damaged() == [third]
    # Of the errors, all of them empty here, Zarr writes no file.
    for name in ("predicted", "confidence", "content_size", "checksum"):
        shutil.copytree(made / f"signals/{name}/c", made / f"signals/{name}/kept")
        shutil.rmtree(made / f"signals/{name}/c/1", ignore_errors=True)
        (made / f"signals/{name}/c/1").unlink(missing_ok=True)
        assert shards.missing_shards(made) == [second]
        shutil.rmtree(made / f"signals/{name}/c")
        (made / f"signals/{name}/kept").rename(made / f"signals/{name}/c")
    assert shards.missing_shards(made) == []


def test_half_written_files_are_cleared_and_no_others(made):
    shard = shards.shards(made)[0]
    shards.write_shard(made, shard, rows(shard))
    of_zarr = made / "signals/predicted/c/0.0123456789abcdef.partial"
    own = shard_file(made, shard).with_name(".ddp-0123456789abcdef.part")
    for left in (of_zarr, own):
        left.write_bytes(b"half")
    assert shards.clear_partial_files(made) == 2
    assert not of_zarr.exists()
    assert not own.exists()
    assert shards.clear_partial_files(made) == 0
    assert shard not in shards.missing_shards(made)


def test_chunks_are_compressed_by_a_codec_without_threads_of_its_own(made):
    # Blosc starts as many threads as there are cores in every process that compresses with it.
    for array in made.rglob("zarr.json"):
        assert "blosc" not in array.read_text()


def test_a_store_made_anew_has_another_stamp(made):
    before = store.stamp(made)
    assert store.stamp(made) == before
    zarr.open_group(store=made, mode="r+").attrs["created"] = "2001-01-01T00:00:00+00:00"
    with pytest.raises(DamagedStoreError, match="attributes are not as they were written"):
        store.stamp(made)
    set_root_mark(made)
    assert store.stamp(made) != before


def test_undeclared_data_are_refused(made):
    extra = store.read(made, "layers").load().assign(extra=("layer", [1, 2]))
    with pytest.raises(SchemaError, match="extra not declared"):
        store.write(made, "layers", extra)
    assert "extra" not in store.read(made, "layers")


def test_no_store_is_said_so(tmp_path):
    with pytest.raises(RunError, match="is not a Zarr store"):
        store.root_attributes(tmp_path / "nothing.zarr")


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_store_is_sealed_as_zarr_consolidates_it(made):
    zarr.consolidate_metadata(made)
    expected = json.loads((made / "zarr.json").read_bytes())
    store.unseal(made)
    store.seal(made)
    sealed = json.loads((made / "zarr.json").read_bytes())
    assert sealed == expected
    names = [list(one["consolidated_metadata"]["metadata"]) for one in (sealed, expected)]
    assert names[0] == names[1]
    assert len(names[0]) > 20


def test_a_sealed_store_opens_as_a_tree_without_a_warning(made):
    store.seal(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(made, engine="zarr")
    assert {"layers", "decomposition", "signals"} <= set(tree.children)
    # Writing goes on after sealing, and what it writes is what is read.
    shard = shards.shards(made)[0]
    shards.write_shard(made, shard, rows(shard))
    assert shard not in shards.missing_shards(made)


def test_a_group_written_by_region_is_the_group_written_whole(tmp_path):
    path = tmp_path / "store.zarr"
    signal = np.ones((4, 2, 7), dtype=np.float32)
    signal[:, 1, 3:] = np.nan
    stored(path, Cube(signal, np.array([0, 1, 0, 1]), (7, 3), 2, ()), block=2)
    layers = store.read(path, "layers").load()
    random = np.random.default_rng(0)
    fraction = random.uniform(size=(1, 2, 3, 2, 2, 7)).astype(np.float32)
    fraction[..., 1, 3:] = np.nan
    shares = ClassFractions(
        fraction=fraction,
        images=np.array([[2, 2]]),
        reached=np.array([[[2, 2], [2, 1]]]),
        eta_squared=fraction[:, 0, 0, 0],
    )
    threshold = random.normal(size=(2, 3, 2))
    whole = tables_dataset(
        threshold,
        shares,
        np.zeros(4, dtype=np.int8),
        layers=layers,
        target_classes=["a", "b"],
        quantiles=[0.5, 0.7, 0.9],
    )
    regions.write_template(
        path,
        "significance",
        whole,
        {"fraction": (1, 2, 3, 2, 1, 4)},
        within={"fraction": (1, 1, 1, 2, 1, 4)},
    )
    with pytest.raises(DamagedStoreError, match="holds no finished group significance"):
        store.read(path, "significance")
    for layer, vectors in ((1, slice(0, 3)), (0, slice(4, 7)), (0, slice(0, 4))):
        place = (*4 * (slice(None),), layer, vectors)
        regions.write_region(path, "significance", "fraction", place, fraction[place])
    store.record(path, "significance", {})
    xr.testing.assert_identical(
        store.read(path, "significance").load(), describe(whole, "significance")
    )
    files = [f for f in (path / "significance/fraction/c").rglob("*") if f.is_file()]
    assert len(files) == 3


def test_metadata_nested_without_end_is_damage_and_no_error_of_python(tmp_path):
    (tmp_path / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"zarr\.json is damaged"):
        store.root_attributes(tmp_path)
