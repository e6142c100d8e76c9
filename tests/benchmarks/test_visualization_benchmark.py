"""The benchmark of optimised images, tiny."""

from runs import tiny_run

from benchmarks import visualization


def test_layers_are_measured_and_shown(tmp_path, monkeypatch):
    run = tiny_run()
    monkeypatch.setattr(visualization, "run_of", lambda name, data: run)
    monkeypatch.setitem(visualization.LAYERS, "mnist", ("conv2", "fc1"))
    options = ["--only", "mnist", "--vectors", "3", "--classes", "2", "--steps", "4"]
    results, sheets = tmp_path / "results.md", tmp_path / "sheets"
    visualization.main(
        ["--data", str(tmp_path), *options, "--results", str(results), "--sheets", str(sheets)]
    )
    lines = results.read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| mnist, `")]
    vectors = [cells for cells in rows if len(cells) == len(visualization.HEADER)]
    assert [cells[0].strip() for cells in vectors] == ["mnist, `conv2`", "mnist, `fc1`"]
    for cells in vectors:
        assert int(cells[1]) == 3
        assert float(cells[3]) <= float(cells[4])
        assert -1 <= float(cells[6]) <= 1
    assert {file.name for file in sheets.iterdir()} >= {"mnist-conv2.png", "mnist-fc1.png"}
