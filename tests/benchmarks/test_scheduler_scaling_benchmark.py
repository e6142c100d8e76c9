"""The benchmark of sleeping workers, small: real scheduler, workers and flow."""

import pytest

from benchmarks import scheduler_scaling


@pytest.mark.usefixtures("prefect_server")
def test_every_shard_comes_back_and_each_part_takes_some_processor_time():
    row = scheduler_scaling.measured(2, 0, 40)
    workers, shards, rate, _, _, *milliseconds = (cell.strip() for cell in row[1:-1].split("|"))
    assert (workers, shards) == ("2", "40")
    assert float(rate) > 0
    assert len(milliseconds) == 3
