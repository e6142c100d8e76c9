from benchmarks import extremes


def test_one_image_of_each_of_two_classes_finishes_and_its_memory_is_measured(tmp_path):
    extreme = extremes.Extreme(layers=2, channels=2, classes=2, per_class=1)
    found = extremes.measured(extreme, tmp_path)
    assert found.status == 0, found.last_line
    assert (tmp_path / "out" / "report.html").is_file()
    assert "hypergraphs" in found.parts
    assert found.flow > 50
    assert found.workers
    assert min(found.workers) > 50
    line = extremes.section([extremes.row("one-image-a-class", extreme, found)])[-1]
    assert line.startswith(
        "| one-image-a-class | 2 layers of 2 channels, 2 classes × 1 | finished |"
    )


def test_every_extreme_has_inputs_that_fit_each_other():
    for extreme in extremes.EXTREMES.values():
        asked = extreme.run_file()
        assert asked["model"]["kwargs"]["layers"] >= 2
        assert asked["model"]["kwargs"]["classes"] >= asked["images"]["kwargs"]["classes"]
