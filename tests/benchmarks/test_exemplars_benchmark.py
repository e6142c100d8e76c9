"""The benchmark of the exemplars, tiny."""

from benchmarks import exemplars


def test_reading_and_finding_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(exemplars, "RESNET20", (4, 3))
    monkeypatch.setattr(exemplars.cubes, "VGG16", (5,))
    lines = exemplars.measured(tmp_path, 300, 1)
    assert [line.split(",")[0] for line in lines] == ["| ResNet-20", "| VGG-16"]
    for line in lines:
        reading, finding, ratio = (float(cell) for cell in line.split("|")[2:5])
        assert reading > 0
        assert finding > 0
        assert ratio > 0
