import numpy as np
from hypothesis import given, settings
from stored_cubes import significance_of
from strategies import LEVELS, cubes

from ddp_tasks.significance.superclasses import over_superclasses, superclass_dataset
from schemas.variables import validate


@settings(max_examples=25)
@given(cubes(), LEVELS)
def test_superclasses_are_what_one_label_for_their_images_gives(cube, levels):
    significance = significance_of(cube, levels)
    groups = {"even": [f"class {c}" for c in range(0, cube.target_classes, 2)]}
    if cube.target_classes > 1:
        groups["first odd"] = ["class 1"]
    stored = validate(superclass_dataset(significance, groups), "superclasses")
    found = over_superclasses(significance, stored)
    assert found["target_class"].values.tolist() == list(groups)
    member = stored["member"].to_numpy()
    for g, direction, number, layer in np.ndindex(len(groups), 2, len(levels), len(cube.ranks)):
        rank = cube.ranks[layer]
        images = np.flatnonzero(member[g][cube.targets])
        assert found["images"].values[0, g] == len(images)
        q = float(significance["threshold"].values[direction, number, layer])
        signals = (1, -1)[direction] * cube.signals[images, layer].astype(float)
        fraction = found["fraction"].values[0, direction, number, g, layer]
        assert np.isnan(fraction[rank:]).all()
        if len(images):
            share = (signals[:, :rank] > q).sum(axis=0) / len(images)
            np.testing.assert_array_equal(fraction[:rank], share.astype(np.float32))
        else:
            assert np.isnan(fraction).all()
