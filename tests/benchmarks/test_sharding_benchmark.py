from benchmarks import sharding


def test_shard_files_and_zarr_are_measured_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "CUBES", {"tiny": ([2, 5, 3], 4, 3)})
    rows = sharding.lines_of(tmp_path, turns=1)
    whats = ["write a shard", "read a layer by shards", "read a layer at once"]
    assert [row.split(" | ")[1] for row in rows] == whats
    assert all(row.count("(") >= 2 for row in rows)
