import runpy
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "decomposition.py"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_the_benchmark_runs_tiny_and_writes_its_section(tmp_path):
    main = runpy.run_path(str(FILE), run_name="decomposition_benchmark")["main"]
    results = tmp_path / "results.md"
    main(["--tiny", "--models", str(tmp_path), "--results", str(results)])
    page = results.read_text()
    assert "features.5 | 128 × 576" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| mobilenet_v2 (random)")]
    _, _, layers, _, rank_differs, _, error, *_ = row.split("|")
    assert (int(layers), int(rank_differs)) == (3, 0)
    assert float(error) < 1e-10
