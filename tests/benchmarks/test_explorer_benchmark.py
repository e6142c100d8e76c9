import shutil

import pytest

from benchmarks import explorer
from ddp_tasks.explorer.opened_runs import open_runs


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_small_made_up_run_is_opened_and_moved_through(tmp_path):
    shape = explorer.Shape(3, 60, 2, 8, signals=True)
    explorer.make_store(tmp_path / "store.zarr", shape)
    found = explorer.look(tmp_path, shape)
    assert min(found.served, found.first, found.memory) > 0
    assert set(found.redrawn) == {
        *("p", "q, between stored levels", "q, stored"),
        *("layer, not seen before", "map of images, and back"),
    }
    assert min(min(times) for times in found.redrawn.values()) > 0
    lines = explorer.section({"tiny": found}, {"tiny": shape})
    assert "60 images × 2 layers × 8 singular vectors × 3 classes:" in lines
    assert sum(line.startswith("| ") for line in lines) == 5 + len(found.redrawn)


def test_a_made_up_run_without_signals_has_its_tables(tmp_path):
    shape = explorer.Shape(60, 120, 2, 8, signals=False)
    explorer.make_store(tmp_path / "store.zarr", shape)
    (run,) = open_runs([tmp_path])
    for layer in run.layers:
        table = run.levels(layer).at(explorer.QUANTILE, explorer.PERCENTAGE)
        assert table.significant.shape == (60, 16)
        assert table.significant.any()
        hierarchy = run.of_layer("hierarchies", layer)
        assert hierarchy.sizes["equivalence_class"] > 0
