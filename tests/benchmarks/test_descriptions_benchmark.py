"""The benchmark behind what docs/descriptions.md says of digits and ResNet-20."""

import numpy as np
import pytest

from benchmarks import descriptions
from ddp_tasks.queries.descriptions import describe
from schemas.run_files import load_run


def test_pictures_are_measured_by_hand():
    picture = np.zeros((4, 4, 3))
    picture[:2, :, 0] = 1
    found = descriptions.measured(picture)
    assert found["brightness"] == pytest.approx(1 / 6)
    assert found["redness"] == pytest.approx(0.5)
    assert found["blueness"] == pytest.approx(-0.25)
    # One edge of three between the rows, of a third in grey.
    assert found["horizontal edges"] == pytest.approx(1 / 9)
    assert found["vertical edges"] == 0
    assert found["brighter above"] == pytest.approx(1 / 3)
    assert found["brighter within"] == pytest.approx(0)


def test_attributes_have_a_row_for_each_image_of_the_run():
    frame = descriptions.attributes_of(load_run("digits", ["images.per_class=2"]))
    assert len(frame) == 20
    assert frame["id"].is_unique
    assert frame["brightness"].between(0, 1).all()


def test_a_run_is_described_layer_by_layer(finished):
    found = describe(finished.store.parent)
    page = "\n".join(descriptions.section("tiny", found, 1.0))
    for layer, vectors in (("conv1", 10), ("conv2", 12), ("fc1", 14), ("fc2", 6)):
        assert f"| {layer} | {vectors} | " in page
    assert "signed vectors are above the 95th percentile of random directions" in page
