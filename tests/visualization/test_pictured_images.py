import numpy as np
import xarray as xr

from ddp_tasks.visualization.pictured_images import pictured_images


def made():
    """Two layers of two vectors; images named after direction, layer, vector and place."""
    image = np.empty((2, 2, 2, 2), dtype=object)
    for place in np.ndindex(image.shape):
        image[place] = "d{}l{}v{}p{}".format(*place)
    image[:, 1, 1] = ""  # past the rank
    dims = ("direction", "layer", "singular_vector", "place")
    hierarchy = xr.Dataset(
        {
            "exemplar": (("equivalence_class", "target_class"), [["a", "b"]]),
            "strongest": (("equivalence_class", "place"), [["a", "c"]]),
            "singular_vectors": (
                ("equivalence_class", "singular_vector", "direction"),
                [[[False, False], [True, False]]],
            ),
        }
    )
    empty = hierarchy.isel(equivalence_class=[])
    return xr.Dataset({"image": (dims, image)}), [hierarchy, empty]


def test_images_of_equivalence_classes_come_first_then_those_of_their_vectors():
    exemplars, hierarchies = made()
    every = pictured_images(exemplars, hierarchies, 100)
    assert every[:7] == ["a", "b", "c", "d0l0v1p0", "d1l0v1p0", "d0l0v1p1", "d1l0v1p1"]
    assert set(every[7:11]) == {"d0l0v0p0", "d0l1v0p0", "d1l0v0p0", "d1l1v0p0"}
    assert len(every) == 3 + 12
    assert pictured_images(exemplars, hierarchies, 5) == every[:5]
