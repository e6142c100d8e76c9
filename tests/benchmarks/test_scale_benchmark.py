"""The benchmark of a large store, small: its template is a store that shards are written to."""

from benchmarks import scale
from ddp_tasks.store import shards


def test_a_listing_is_opened_and_whole_shards_are_written(tmp_path, capsys):
    scale.image_set(2000)
    scale.template(tmp_path / "store.zarr", 2000, 64, scale.NARROW)
    assert len(shards.missing_shards(tmp_path / "store.zarr")) == 32
    whole = tmp_path / "whole.zarr"
    scale.template(whole, 64, 16)
    scale.write_whole_shards(whole, 3)
    assert [shard.index for shard in shards.missing_shards(whole)] == [3]
    assert "| write one shard of 16 images |" in capsys.readouterr().out
