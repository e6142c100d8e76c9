import shutil

import pytest
from runs import HERE

from benchmarks import many_layers, report_page
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.summary import read_summary


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_report_of_a_finished_run_is_measured(finished):
    code = [f"model.factory={HERE}:TinyNetwork", f"images.factory={HERE}:Noise"]
    run = open_finished(finished.store.parent, code, trust=True)
    found = report_page.measure(run, openings=2)
    assert (found.layers, len(found.sections)) == (4, 3)
    assert found.page_bytes > 400_000
    assert len(found.first_paint) == len(found.loaded) == len(found.seen) == 2
    for seen, opened in zip(found.seen, found.opened, strict=True):
        assert 0 < seen <= opened
    lines = report_page.section("tiny", found)
    assert lines[0].startswith("\n## Report of tiny, 4 layers, ")
    assert sum(line.startswith("| ") for line in lines) == 7


def test_a_run_of_many_layers_and_classes_is_made_up(ddp, tmp_path):
    file, out = tmp_path / "run.yaml", tmp_path / "run"
    file.write_text(many_layers.run_file(layers=3, classes=60))
    status, _ = ddp("run", file, "--out", out)
    assert status == 0
    run = open_finished(out, [], trust=True)
    summary = read_summary(run.run, run.store)
    assert len(summary.layers) == 3
    assert summary.target_classes == 60
    # Singular vectors stand for some of the classes.
    assert all(layer.nodes and layer.hyperedges for layer in summary.layers)
