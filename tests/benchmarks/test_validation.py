import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from findings import findings, nested

FILE = Path(__file__).parents[2] / "benchmarks" / "validation.py"


@pytest.fixture(scope="module")
def validation():
    return runpy.run_path(str(FILE), run_name="validation")


def _hierarchy(sets, vectors):
    """Equivalence classes of so many vectors each, for the classes whose letters they name."""
    names = np.array(list("abcde"), dtype=object)
    number = np.repeat(np.arange(len(sets)), vectors)
    return xr.Dataset(
        {
            "target_classes": (
                ("equivalence_class", "target_class"),
                np.array([[name in letters for name in names] for letters in sets]),
            ),
            "singular_vectors": (
                ("equivalence_class", "singular_vector", "direction"),
                (number == np.arange(len(sets))[:, None])[:, :, None],
            ),
        },
        coords={"target_class": names},
    )


def test_classes_kept_apart_by_hand(validation):
    # Four vectors for a and b, two for c, d and e, two for b and c; e alone parts nothing.
    hierarchy = _hierarchy(["ab", "cde", "bc", "e"], [4, 2, 2, 7])
    shared, share, chance = validation["parted"](hierarchy, ("a", "b"))
    assert shared == {"group": [["a", "b"]], "others": [["c", "d", "e"]], "both": [["b", "c"]]}
    assert share == 6 / 8
    # Of the ten pairs only a with b has 6 of 8; d with e has 4 + 2 as well: cde is cut, bc not.
    every = {"ab": 6, "ac": 0, "ad": 2, "ae": 2, "bc": 2, "bd": 0, "be": 0}
    every |= {"cd": 4, "ce": 4, "de": 6}
    assert chance == sum(count >= 6 for count in every.values()) / 10


def test_vectors_of_the_same_classes_by_hand(validation):
    few = _hierarchy(["ab", "cde", "b"], [2, 1, 3])
    many = _hierarchy(["ab", "cd", "b"], [3, 1, 2])
    # v0 and v1 stay with a and b, v4 and v5 with b; v2 went from cde to ab, v3 from b to cd.
    assert validation["same_classes"]([few, many]) == (4, 6)
    assert validation["same_classes"]([few, few.isel(equivalence_class=[])]) == (0, 6)
    assert validation["same_classes"]([few]) == (6, 6)


def test_no_shared_vectors_part_nothing(validation):
    _, share, chance = validation["parted"](_hierarchy(["a", "b"], [1, 1]), ("a", "b"))
    assert np.isnan(share)
    assert np.isnan(chance)


@pytest.mark.parametrize("name", ["mnist", "resnet56", "vgg16"])
def test_runs_are_those_that_a_run_file_could_ask_for(validation, name, tmp_path):
    run = validation["RUNS"][name](tmp_path, 50)
    assert run.images.per_class == 50
    assert str(run.images.kwargs["root"]).startswith(str(tmp_path))
    # Half of 50 and of 1,000 images are not enough where more than half are asked for.
    if name == "vgg16":
        percentage = run.significance.levels(validation["SEVENTH"]).percentage
        for images in (50, 1000):
            assert 100 * images / 2 < percentage * images <= 100 * (images / 2 + 1)


def test_every_layer_has_a_row_with_a_number_for_each_run(validation):
    few, many = findings(nested()), findings(nested(), images=80)
    runs = {
        count: validation["Found"](made.summary, made.hierarchies)
        for count, made in ((10, few), (20, many))
    }
    lines = validation["section"]("small", runs)
    assert (
        "10 a class: 40 images, accuracy 100.0%; 20 a class: 80 images, accuracy 100.0%." in lines
    )
    assert "| layer0 | 6 | 0.416667 | 75 | 5, 5 | 4, 4 | 4, 4 | 3, 3 | 5 of 5 |" in lines
