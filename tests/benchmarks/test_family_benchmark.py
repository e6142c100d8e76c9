from benchmarks import family


def test_the_benchmark_measures_every_step_and_writes_its_section(tmp_path):
    family.make_store(tmp_path / "store.zarr", classes=4, images=3, vectors=8)
    rows = [family.step_line(tmp_path / "store.zarr", step) for step in family.STEPS]
    lines = family.section(4, 3, 8, rows)
    assert "4 classes x 3 images x a layer of 8 singular vectors" in lines[2]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[6:]] == list(family.STEPS)
    assert "363 hypergraphs, greatest depth" in lines[-2]
